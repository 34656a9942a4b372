package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/ledger/memory"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Times of a schedule. They keep the product's proportions at a fifth of its
// default lease.
const (
	lease    = 2 * time.Second
	interval = 4 * time.Second // between slots
	rescan   = time.Second
	within   = 2 * time.Second // what is lost is put back
	look     = within / 5      // between looks of the audit
	maxLost  = 3
	patience = 10 * time.Minute // within which a healed cluster has to end everything
	maxSteps = 60_000
	flow     = ids.FlowID("f")
)

// world is one schedule: the stores, the processes and what is known of both.
type world struct {
	scheduler
	seed    uint64
	ledger  *memory.Ledger
	broker  broker
	etcd    etcd
	plan    *plan.Plan
	anchor  time.Time
	slots   int // of the schedule
	base    int // writes that nothing takes back
	runID   int
	lossy   bool // the ledger lost writes
	torn    bool // and the half of a call
	healing bool
	budget  int
	enabled [faults]bool
	struck  [faults]int
	coords  []*process
	workers []*process
	held    map[*process]*keeper
	born    int // workers so far
	verbs   map[string]int
	repairs map[string]int
	check   checker
	tracing func(string)
}

// begin makes a world of a seed: a flow, two or three coordinators and workers,
// and what may go wrong.
func begin(seed uint64, tracing func(string)) *world {
	w := &world{seed: seed, tracing: tracing, verbs: map[string]int{}, repairs: map[string]int{}, held: map[*process]*keeper{}}
	w.rng = rand.New(rand.NewPCG(seed, 0x5eed))
	w.now = time.UnixMilli(1_800_000_000_000).UTC()
	w.etcd.once = map[string]string{}
	w.ledger = memory.New(func() time.Time { return w.now })
	w.anchor = w.now
	w.plan = drawPlan(w.rng)
	w.slots = 1 + w.rng.IntN(3)
	w.check = newChecker(w)
	w.drawFaults()
	w.install()
	for i := range 2 + w.rng.IntN(2) {
		w.addCoordinator(fmt.Sprintf("c%d", i+1))
	}
	for range 2 + w.rng.IntN(2) {
		w.addWorker()
	}
	w.addUser()
	return w
}

// install registers the flow, as a coordinator does with one that etcd has.
func (w *world) install() {
	ok := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	ok(w.ledger.WritePlan(bg, w.plan))
	ok(w.ledger.ActivateFlow(bg, ledger.Activation{Flow: flow, UID: w.plan.UID, Revision: 1, Document: []byte("{}"), Anchor: w.anchor}))
	w.base = w.ledger.Writes()
}

func (w *world) addCoordinator(name string) {
	p := &process{name: name}
	w.coords = append(w.coords, p)
	w.spawn(p, name, func(a *actor) { w.coordinate(a) })
}

// restart brings back what is dead, so that a healed cluster has somebody.
func (w *world) restart() {
	for i, p := range w.coords {
		if p.dead {
			w.coords[i] = nil
		}
	}
	old := w.coords
	w.coords = nil
	for i, p := range old {
		if p != nil {
			w.coords = append(w.coords, p)
		} else {
			w.addCoordinator(fmt.Sprintf("c%d'", i+1))
		}
	}
	live := 0
	for _, p := range w.workers {
		if !p.dead {
			live++
		}
	}
	if live == 0 {
		w.addWorker()
	}
}

// heal ends all faults: what stood still goes on, what died comes back.
func (w *world) heal() {
	w.trace(nil, "healed")
	w.healing = true
	for _, p := range append(append([]*process{}, w.coords...), w.workers...) {
		p.frozen, p.cut = time.Time{}, time.Time{}
	}
	w.restart()
}

// token makes a token from the seed.
func (w *world) token() uuid.UUID {
	var u uuid.UUID
	for i := range u {
		u[i] = byte(w.rng.IntN(256))
	}
	return u
}

func (w *world) trace(a *actor, format string, args ...any) {
	if w.tracing == nil {
		return
	}
	who := "-"
	if a != nil {
		who = a.proc.name + "." + a.name
	}
	w.tracing(fmt.Sprintf("%8.3f %-12s %s", w.now.Sub(w.anchor).Seconds(), who, fmt.Sprintf(format, args...)))
}

// short shows an answer in a trace.
func short(v any) any {
	switch v := v.(type) {
	case none:
		return "ok"
	case ledger.Started:
		return fmt.Sprintf("cycle %d before=%t skipped=%q", v.Cycle, v.Before, v.Skipped)
	default:
		return v
	}
}
