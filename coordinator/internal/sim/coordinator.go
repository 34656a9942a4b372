package sim

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/advance"
	"github.com/tradingflow/weather-station/coordinator/internal/outbox"
	"github.com/tradingflow/weather-station/coordinator/internal/reconcile"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/ledger/memory/mutant"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

var silent = hclog.NewNullLogger()

// coordinate is a coordinator: it stands by, leads, and stands by again.
func (w *world) coordinate(a *actor) {
	for {
		a.await(&w.scheduler, time.Hour, func() bool { return w.etcd.leader == nil })
		if w.etcd.leader != nil {
			continue
		}
		w.etcd.rev++
		w.etcd.leader = a.proc
		r := &reign{world: w, main: a, epoch: ids.Epoch(w.etcd.rev)}
		w.trace(a, "leads with epoch %d", r.epoch)
		r.run()
		if r.key() {
			w.etcd.leader = nil
		}
		w.trace(a, "leads no more")
	}
}

// reign is what runs during one epoch. Its parts share nothing but the ledger.
type reign struct {
	*world
	main     *actor
	epoch    ids.Epoch
	reader   *outbox.Reader
	offers   *outbox.Queue
	chores   *outbox.Queue
	slow     *outbox.Queue
	ends     *outbox.Queue
	leases   *reconcile.Leases
	timers   *reconcile.Timers
	receipts []receipt
	learns   time.Time // when it hears that its key is gone
	fenced   bool
	wake     bool // a timer was set
	hurry    bool // a claim was revoked
	whole    bool // everything is to be audited
	recount  bool // which slots are accounted is to be asked for
}

type receipt struct {
	entry     ledger.Entry
	confirmed bool
}

// key reports whether the election key is still this reign's.
func (r *reign) key() bool { return r.etcd.leader == r.main.proc && r.etcd.rev == int64(r.epoch) }

// over reports whether the reign has to end: it was fenced, or has learned that
// its key is gone.
func (r *reign) over() bool {
	if r.key() {
		return r.fenced
	}
	if r.learns.IsZero() {
		r.learns = r.now.Add(r.upTo(2 * lease))
	}
	return r.fenced || !r.now.Before(r.learns)
}

func (r *reign) run() {
	p := port{r.world, r.main}
	r.main.epoch = r.epoch
	for {
		_, err := p.Takeover(bg, r.epoch)
		if err == nil {
			break
		}
		if ledger.Fenced(err) || r.over() {
			return
		}
		r.main.sleep(&r.scheduler, 100*time.Millisecond)
	}
	parts := r.parts()
	for !r.over() {
		r.main.await(&r.scheduler, 500*time.Millisecond, r.over)
	}
	r.kill(parts...)
}

// parts starts the loops of a leader.
func (r *reign) parts() []*actor {
	var out []*actor
	part := func(name string, body func(port)) {
		a := r.spawn(r.main.proc, name, func(a *actor) { body(port{r.world, a}) })
		a.epoch = r.epoch
		out = append(out, a)
	}
	part("reader", r.read)
	part("dispatch", r.dispatch)
	part("settle", r.settle)
	part("chores", func(p port) { r.advance(p, r.chores) })
	part("chores2", func(p port) { r.advance(p, r.chores) })
	part("slow", func(p port) { r.advance(p, r.slow) })
	part("leases", r.watchLeases)
	part("timers", r.fireTimers)
	part("audit", r.audit)
	part("ticker", r.tick)
	part("redis", r.watchLedger)
	part("fleet", r.releaseHolds)
	part("ends", func(p port) { r.advance(p, r.ends) })
	r.reader = outbox.New(outbox.Config{Ledger: port{r.world, out[0]}, Log: silent})
	r.offers = r.reader.Route(ledger.KindReady)
	r.chores = r.reader.Route(advance.Kinds()...)
	r.slow = r.reader.Route(advance.SlowKinds()...)
	r.ends = r.reader.Route(advance.EndKinds()...)
	r.timers = reconcile.NewTimers(port{r.world, out[7]}, r.epoch, within, silent)
	return out
}

// stop notes a refusal by epoch; the main actor ends the reign.
func (r *reign) stop(err error) bool {
	if ledger.Fenced(err) {
		r.fenced = true
	}
	return r.fenced
}

// read is the loop of package outbox around its real reader.
func (r *reign) read(p port) {
	cursor, scanned := "", time.Time{}
	for {
		var err error
		if r.now.Sub(scanned) >= rescan && (mutant.Active != mutant.Cursor || scanned.IsZero()) {
			if cursor, err = r.reader.Scan(bg); err == nil {
				scanned = r.now
			}
		}
		if err == nil {
			p.a.await(&r.scheduler, max(rescan-r.now.Sub(scanned), time.Millisecond), func() bool {
				more, _ := r.ledger.Outbox(bg, cursor, 1)
				return len(more) > 0
			})
			cursor, err = r.reader.Tail(bg, cursor)
		}
		if err != nil {
			if mutant.Active != mutant.Cursor {
				scanned = time.Time{}
			}
			p.a.sleep(&r.scheduler, 50*time.Millisecond)
		}
	}
}

func (r *reign) advance(p port, from *outbox.Queue) {
	leases := r.newLeases(p)
	cfg := advance.Config{Ledger: p, Plans: planSource{p}, Done: r.reader.Done, Epoch: r.epoch, Log: silent, Listeners: advance.Listeners{
		Closed:  func(context.Context, ledger.CycleState) error { return nil },
		Failure: func(context.Context, ledger.Entry) error { return nil },
		Timer:   func() { r.wake = true },
		Suspect: func(ctx context.Context, e ledger.Entry) error { return leases.Suspect(ctx, e.Attempt) },
	}}
	for {
		p.a.await(&r.scheduler, time.Second, func() bool { return from.Len() > 0 })
		if from.Len() == 0 {
			continue
		}
		if from == r.ends {
			if r.stop(advance.Ends(bg, cfg, from.Take(bg, 2))) {
				return
			}
			continue
		}
		for _, e := range from.Take(bg, 1) {
			if r.stop(advance.Act(bg, cfg, e)) {
				return
			}
		}
	}
}

func (r *reign) newLeases(p port) *reconcile.Leases {
	return reconcile.NewLeases(reconcile.LeasesConfig{Ledger: p, Plans: planSource{p}, Epoch: r.epoch, Lease: lease, MaxLost: maxLost, Log: silent,
		Gone: func(_ context.Context, w ledger.Worker) bool { return r.gone(w.ID) }, Revoked: func() { r.hurry = true }})
}

// watchLeases is Run of reconcile.Leases around its real pass.
func (r *reign) watchLeases(p port) {
	r.leases = r.newLeases(p)
	r.leases.Quiet(r.now)
	for {
		began := r.now
		running, next, err := r.leases.Pass(bg, began)
		if r.stop(err) {
			return
		}
		if err != nil || r.now.Sub(began) > max(lease/5, time.Second) {
			r.leases.Quiet(r.now)
		}
		next = min(next, lease/5)
		if running == 0 && err == nil {
			next = time.Second
		}
		p.a.sleep(&r.scheduler, max(next, time.Millisecond))
	}
}

func (r *reign) fireTimers(p port) {
	for {
		next, err := r.timers.Fire(bg)
		if r.stop(err) {
			return
		}
		if err != nil {
			next = 200 * time.Millisecond
		}
		r.wake = false
		p.a.await(&r.scheduler, next, func() bool { return r.wake })
	}
}

// audit is Run of reconcile.Audit around its real pass.
func (r *reign) audit(p port) {
	audit := reconcile.NewAudit(reconcile.AuditConfig{Ledger: p, Plans: planSource{p}, Flows: flows{p}, Depths: depths{p}, Epoch: r.epoch,
		Lease: lease, Within: within, Log: silent, Mended: func(kind string) { r.repairs[kind]++; r.check.repaired(p.a, kind) }})
	all := true
	for {
		if r.whole {
			r.whole, all = false, true
			audit.Forget()
		}
		hurry := r.hurry
		r.hurry = false
		open, err := audit.Pass(bg, all, hurry)
		if r.stop(err) {
			return
		}
		if err != nil {
			audit.Forget()
		}
		next := look
		if open == 0 && err == nil {
			next = max(next, time.Second)
		}
		all = err != nil && all || err == nil && !all
		p.a.await(&r.scheduler, next, func() bool { return r.hurry || r.whole })
	}
}

// flows are those that etcd has.
type flows struct{ port }

func (f flows) Len() int { return 1 }

func (f flows) Has(id ids.FlowID) bool { return id == flow }

func (f flows) Names() []ids.FlowID { return []ids.FlowID{flow} }

func (f flows) Get(id ids.FlowID) (reconcile.Flow, bool) {
	if id != flow {
		return reconcile.Flow{}, false
	}
	return reconcile.Flow{UID: f.w.plan.UID, Revision: f.w.plan.Revision, Fields: ledger.PlanFields(f.w.plan)}, true
}

// Restore is never asked for: what a schedule can lose begins behind the flow.
func (f flows) Restore(context.Context, ids.FlowID) error { return nil }

// depths tells how many messages wait, when the broker does.
type depths struct{ port }

func (d depths) Depth(context.Context, string) (taskqueue.Depth, error) {
	d.a.step()
	if mutant.Active == mutant.NoRedispatch || d.w.fault(faultDepthUnknown) {
		return taskqueue.Depth{}, taskqueue.ErrDisconnected
	}
	return taskqueue.Depth{Ready: len(d.w.broker.waiting)}, nil
}
