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

// ready is what can be offered to one pool now.
type ready struct {
	pool    string
	entries []ledger.Entry
	tasks   []task.Task
}

func (d *dispatcher) publish(ctx context.Context) error {
	for ctx.Err() == nil {
		batch := d.Source.Take(ctx, take)
		pools, err := d.sort(ctx, batch)
		if err != nil {
			return err
		}
		left := d.Source.Len()
		for len(pools) > 0 {
			p := &pools[0]
			if len(p.entries) == 0 {
				pools = pools[1:]
				continue
			}
			waiting := len(p.entries) * (len(batch) + left) / len(batch)
			slots, most := d.Fleet.Room(p.pool)
			for n := packSize(waiting, slots, most); len(p.entries) > 0; {
				if more, err := d.pack(ctx, p, min(n, len(p.entries))); err != nil || !more {
					if err := d.keep(pools, err); err != nil {
						return err
					}
					pools = nil
					break
				}
			}
		}
	}
	return nil
}

// packSize is how many nodes go in one message when so many wait for a pool whose workers
// have so many slots and read at most so many tasks in one message.
func packSize(waiting, slots, most int) int {
	if slots < 1 {
		return 1
	}
	return max(1, min(waiting/(2*slots), most, task.MaxPack))
}

// sort finds what can be offered, by pool. Only a refusal by epoch is returned.
func (d *dispatcher) sort(ctx context.Context, batch []ledger.Entry) (pools []ready, err error) {
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
			return nil, err
		}
		if n == nil {
			continue
		}
		i := slices.IndexFunc(pools, func(r ready) bool { return r.pool == n.Pool })
		if i < 0 {
			i, pools = len(pools), append(pools, ready{pool: n.Pool})
		}
		p := &pools[i]
		p.entries = append(p.entries, e)
		p.tasks = append(p.tasks, task.Task{Attempt: e.Attempt, Type: n.Type, Pool: n.Pool, Partitions: d.Partitions})
	}
	return pools, nil
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

// pack publishes the first n entries of p in one message, and removes them from p. It
// reports false when nothing may be published now.
func (d *dispatcher) pack(ctx context.Context, p *ready, n int) (more bool, err error) {
	if err := d.mayPublish(ctx, len(p.entries)); err != nil {
		return false, err
	}
	entries, tasks := p.entries[:n:n], p.tasks[:n]
	p.entries, p.tasks = p.entries[n:], p.tasks[n:]
	for _, e := range entries {
		hop.Pass(hop.Offered, e.Attempt)
	}
	receipt, err := d.Publisher.Publish(ctx, taskqueue.Queue(d.Prefix, p.pool), entries[0].ID, task.EncodePack(tasks))
	if err != nil {
		if !d.down && ctx.Err() == nil {
			d.down = true
			d.Log.Warn("tasks can't be published", "error", err)
		}
		d.Done(idsOf(entries)...)
		return true, nil
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
	patience := time.Duration(d.patience.Load())
	select {
	case d.open <- offer{entries, receipt, patience, time.Now().Add(patience)}:
	case <-ctx.Done():
	}
	return true, nil
}

// keep gives what was not published back to the reader, and passes on a refusal by epoch.
func (d *dispatcher) keep(pools []ready, err error) error {
	count := 0
	for _, p := range pools {
		d.Done(idsOf(p.entries)...)
		count += len(p.entries)
	}
	if !ledger.Fenced(err) {
		return nil
	}
	d.Log.Warn("offers are held back: another coordinator leads", "count", count, "error", err)
	if d.HeldBack != nil {
		d.HeldBack(count)
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
