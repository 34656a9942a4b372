package dispatch

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tradingflow/weather-station/shared/hop"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// take is how many entries are looked at together.
const take = 1024

// pool is what publish knows of one pool.
type pool struct {
	name   string
	queue  string
	ready  []node // that can be offered, of the entries taken last
	turns  turns  // held back
	window window
	beyond int  // nodes that were offered without room since there was some last
	mute   bool // the depth of its queue can't be had, and that was said
}

func (d *dispatcher) publish(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	defer d.asking.Wait()
	defer end()
	for ctx.Err() == nil {
		until, stop := d.until(ctx)
		batch := d.Source.Take(until, take)
		stop()
		d.listen()
		err := d.sort(ctx, batch)
		if err != nil {
			return err
		}
		left := d.Source.Len()
		for _, p := range d.pools {
			waiting := len(p.ready)
			if waiting > 0 {
				waiting = waiting * (len(batch) + left) / len(batch)
			}
			if err = d.offer(ctx, p, waiting+p.turns.count); err != nil {
				break
			}
			d.ask(ctx, p)
		}
		if err = d.keep(err); err != nil {
			return err
		}
	}
	return nil
}

// offer offers what is ready for a pool, as far as its window has room; so many nodes wait
// for it in all. The error says that nothing may be published now.
func (d *dispatcher) offer(ctx context.Context, p *pool, waiting int) error {
	if waiting == 0 {
		return nil
	}
	w := &p.window
	var reads int
	var slots, workers int
	slots, workers, reads = d.Fleet.Room(p.name)
	w.resize(slots, workers)
	w.forget(time.Now())
	if d.Depths == nil || p.turns.count == 0 && len(p.ready) <= w.room() {
		p.beyond = 0
		n := w.pack(waiting, reads, false)
		for len(p.ready) > 0 {
			if err := d.mayPublish(ctx, len(p.ready)); err != nil {
				return err
			}
			nodes := p.ready[:min(n, len(p.ready))]
			p.ready = p.ready[len(nodes):]
			d.send(ctx, p, nodes)
		}
		return nil
	}
	for _, r := range p.ready {
		p.turns.add(r)
	}
	p.ready = nil
	if w.overrule(time.Now()) && !p.mute {
		p.mute = true
		d.Log.Warn("the broker does not tell how many messages wait; offers are made without its word", "queue", p.queue)
	}
	for n := w.pack(waiting, reads, true); p.turns.count > 0; {
		count := min(n, w.room())
		if count > 0 {
			p.beyond = 0
		} else {
			if !w.squeeze(p.beyond) || !p.turns.urgent() {
				break
			}
			count = 1
			p.beyond++
		}
		if err := d.mayPublish(ctx, p.turns.count); err != nil {
			return err
		}
		d.send(ctx, p, p.turns.take(count))
	}
	return nil
}

// sort finds what can be offered, by pool. Only a refusal by epoch is returned.
func (d *dispatcher) sort(ctx context.Context, batch []ledger.Entry) error {
	if len(batch) > 1 { // of many cycles, maybe, each of which may have to be asked for
		attempts := make([]ids.Attempt, len(batch))
		for i, e := range batch {
			attempts[i] = e.Attempt
		}
		d.Plans.Prefetch(ctx, attempts)
	}
	for _, e := range batch {
		n, err := d.node(ctx, e)
		if err != nil {
			return err
		}
		if n == nil {
			continue
		}
		i := slices.IndexFunc(d.pools, func(p *pool) bool { return p.name == n.Pool })
		if i < 0 {
			i, d.pools = len(d.pools), append(d.pools, &pool{name: n.Pool, queue: taskqueue.Queue(d.Prefix, n.Pool)})
		}
		d.pools[i].ready = append(d.pools[i].ready, node{entry: e, kind: n.Type})
	}
	return nil
}

// node returns the node that an entry offers; nil when it can't be offered now, and the
// entry is dealt with.
func (d *dispatcher) node(ctx context.Context, e ledger.Entry) (*plan.Node, error) {
	p, err := d.Plans.OfCycle(ctx, e.Attempt)
	var n *plan.Node
	if err == nil {
		n = p.Node(e.Node)
	}
	if errors.Is(err, ledger.ErrGone) || (err == nil && n == nil) {
		return nil, d.gaveBack(e, d.Ledger.Drop(ctx, d.Epoch, e.ID))
	}
	if err != nil {
		return nil, d.gaveBack(e, err)
	}
	if !d.Fleet.Carries(n.Pool, n.Type) {
		d.Log.Warn("node waits for a worker of its type", "flow", e.Flow, "cycle", e.Cycle, "node", e.Node, "type", n.Type, "pool", n.Pool)
		return nil, d.gaveBack(e, d.Ledger.Hold(ctx, d.Epoch, e, ledger.HeldByType(n.Pool, n.Type), "no_worker"))
	}
	return n, nil
}

// send publishes nodes of p in one message.
func (d *dispatcher) send(ctx context.Context, p *pool, nodes []node) {
	entries, tasks := make([]ledger.Entry, len(nodes)), make([]task.Task, len(nodes))
	for i, n := range nodes {
		entries[i] = n.entry
		tasks[i] = task.Task{Attempt: n.entry.Attempt, Type: n.kind, Pool: p.name, Partitions: d.Partitions}
		hop.Pass(hop.Offered, n.entry.Attempt)
	}
	receipt, err := d.Publisher.Publish(ctx, p.queue, entries[0].ID, task.EncodePack(tasks))
	if err != nil {
		if !d.down && ctx.Err() == nil {
			d.down = true
			d.Log.Warn("tasks can't be published", "error", err)
		}
		d.Done(idsOf(entries)...)
		return
	}
	for _, e := range entries {
		hop.Pass(hop.Published, e.Attempt)
	}
	if d.down {
		d.down = false
		d.Log.Info("tasks are published again")
	}
	if !d.told.published {
		d.told.published = true
		d.Log.Debug("first offer published")
	}
	now := time.Now()
	if d.Depths != nil {
		p.window.offered(len(nodes), now)
	}
	p.window.unconfirmed.Add(int64(len(nodes)))
	patience := time.Duration(d.patience.Load())
	select {
	case d.open <- offer{p, entries, receipt, patience, now.Add(patience)}:
	case <-ctx.Done():
	}
}

// keep gives what may not be published back to the reader, and passes on a refusal by epoch.
func (d *dispatcher) keep(err error) error {
	if err == nil {
		return nil
	}
	var back []string
	for _, p := range d.pools {
		for _, n := range append(p.ready, p.turns.take(p.turns.count)...) {
			back = append(back, n.entry.ID)
		}
		p.ready = nil
	}
	d.Done(back...)
	if !ledger.Fenced(err) {
		return nil
	}
	d.Log.Warn("offers are held back: another coordinator leads", "count", len(back), "error", err)
	if d.HeldBack != nil {
		d.HeldBack(len(back))
	}
	return err
}

// gaveBack returns an entry to the reader and passes on a refusal by epoch.
func (d *dispatcher) gaveBack(e ledger.Entry, err error) error {
	d.Done(e.ID)
	if ledger.Fenced(err) {
		return err
	}
	return nil
}

func idsOf(entries []ledger.Entry) []string {
	all := make([]string, len(entries))
	for i, e := range entries {
		all[i] = e.ID
	}
	return all
}
