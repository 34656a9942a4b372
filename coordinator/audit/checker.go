package audit

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Ledger's names of what a flow may be in.
const (
	active   = "active"
	paused   = "paused"
	deleting = "deleting"
)

// replaced is the reason of slots that their schedule left behind when it was replaced.
const replaced = "replaced"

// checker follows the journal record by record. It remembers what runs, one
// small record per flow, and the last ended cycles.
type checker struct {
	ctx    context.Context //nolint:containedctx // lives for one Run
	src    Source
	bounds Range
	proof  Proof
	found  []finding
	torn   torn
	after  string // the last record that was read
	last   time.Time
	epoch  ids.Epoch
	usurps ledger.Record   // the first of the highest epoch, while that has not taken over
	untold []ledger.Record // the first of epochs that never took over
	clock  clock
	now    int64 // the ledger's time at the end, ms
	flows  map[ids.FlowID]*flow
	cycles map[uuid.UUID]*cycle
	ended  ended
	gone   map[uuid.UUID]bool      // removed of late
	plans  map[revision]*plan.Plan // nil = not kept
	full   *cycle                  // every node is counted: its end has to be the next record
	moved  map[item]bool           // what records of late name; nil = nobody asks
}

// flow is what is known of one flow.
type flow struct {
	status   string // active, paused, deleting; "" = not known
	revision int64  // the active one, 0 = not known
	slot     int64  // last one accounted, ms
	began    bool   // slot is known
	grid     *grid
	// whole is set when the journal has everything of the flow; seen counts what it
	// has: slots that started, slots skipped by reason, cycles ended by status.
	whole      bool
	rebuilt    bool // its state was lost since, and counts anew
	started    int64
	skipped    map[string]int64
	ended      map[string]int64
	misslotted bool // something is wrong with its slots
	// first is the lowest number of a cycle that started in the range, 0 = none
	// did: from it on every start has been seen. last is the newest one's.
	first, last int64
	forgotten   int64 // highest number of an ended cycle that is remembered no more
	planned     int64 // cycles checked against a plan
	doubtful    map[doubt]int64
}

// doubt is what a finding depends on that may turn out to be another's.
type doubt int

const (
	certain doubt = iota
	byPlan        // the plan: the flow may have been removed and made again since
	byGrid        // the grid: it may have changed during the audit
)

// finding is a violation that may yet be taken back.
type finding struct {
	Violation
	doubt doubt
}

type revision struct {
	flow ids.FlowID
	n    int64
}

// settled is how long a leader may write before it takes over: Redis may have
// lost its takeover, and it learns of the restart a moment later.
const settled = 30 * time.Second

// maxPlans bounds the plans kept; beyond it they are read again.
const maxPlans = 4096

func newChecker(ctx context.Context, src Source, bounds Range) *checker {
	c := &checker{ctx: ctx, src: src, bounds: bounds, flows: map[ids.FlowID]*flow{}, cycles: map[uuid.UUID]*cycle{},
		ended: newEnded(), gone: map[uuid.UUID]bool{}, plans: map[revision]*plan.Plan{}, proof: Proof{Checked: map[string]int64{}}}
	for _, rule := range Rules() {
		c.proof.Checked[rule] = 0
	}
	return c
}

func (c *checker) finish() Proof {
	if c.full != nil {
		c.full.stuck = true
	}
	c.clock.learn(c, 0)
	if c.usurps.ID != "" && c.last.Sub(c.usurps.At) > settled { // else its takeover may yet come
		c.usurped()
	}
	for _, r := range c.untold {
		c.breaks(Epochs, r, "%s carries epoch %d, which never took over", r.Op, r.Epoch)
	}
	if c.now == 0 && !c.last.IsZero() {
		c.now = c.last.UnixMilli()
	}
	for id, f := range c.flows {
		c.account(id, f)
		if f.doubtful[byGrid] > 0 && f.grid.changed(c.src, id) {
			c.retract(id, byGrid)
		}
	}
	for _, x := range c.cycles {
		if !x.partial {
			c.proof.Open++
		}
		if x.stuck && c.bounds.To.IsZero() { // a bound may cut it off from its end
			c.unended(x)
		}
	}
	c.excuse()
	c.proof.Violations = make([]Violation, len(c.found))
	for i, f := range c.found {
		c.proof.Violations[i] = f.Violation
	}
	c.proof.Clean = c.proof.Broken == 0
	return c.proof
}

func (c *checker) flow(id ids.FlowID) *flow {
	f := c.flows[id]
	if f == nil {
		f = &flow{doubtful: map[doubt]int64{}, skipped: map[string]int64{}, ended: map[string]int64{}}
		c.flows[id] = f
	}
	return f
}

func (c *checker) breaks(rule string, r ledger.Record, format string, args ...any) {
	c.note(rule, r, certain, format, args...)
}

func (c *checker) note(rule string, r ledger.Record, d doubt, format string, args ...any) {
	c.proof.Broken++
	f := c.flow(r.Flow)
	f.doubtful[d]++
	f.misslotted = f.misslotted || rule == Slots
	if len(c.found) < MaxViolations {
		c.found = append(c.found, finding{Violation{Rule: rule, Record: r.ID, At: r.At, Flow: r.Flow, Cycle: r.Cycle, Node: r.Node,
			Message: fmt.Sprintf(format, args...)}, d})
	}
}

// retract takes back what was found of a flow under a doubt.
func (c *checker) retract(id ids.FlowID, d doubt) {
	f := c.flow(id)
	c.proof.Broken -= f.doubtful[d]
	f.doubtful[d] = 0
	kept := c.found[:0]
	for _, x := range c.found {
		if x.Flow != id || x.doubt != d {
			kept = append(kept, x)
		}
	}
	c.found = kept
}

// record applies one record of the journal.
func (c *checker) record(r ledger.Record) error {
	if c.proof.Records == 0 {
		c.proof.First = r.ID
	}
	c.proof.Records++
	c.proof.Last, c.last = r.ID, r.At
	c.epochs(r)
	if c.moved != nil {
		if r.Node == "" {
			c.moved[item{flow: r.Flow}] = true
		}
		c.moved[item{r.Flow, r.UUID}] = true
	}
	if x := c.full; x != nil {
		c.full = nil
		if r.Op != "cycle_end" || r.UUID != x.uuid {
			x.stuck = true
		}
	}
	switch r.Op {
	case "flow_activated", "flow_paused", "flow_resumed", "flow_deleted", "flow_purged":
		c.flowChanged(r)
	case "slot_skipped":
		c.skipped(r)
	case "cycle_start":
		return c.started(r)
	case "cycle_cancel", "cycle_end", "cycle_removed":
		c.cycleChanged(r)
	case "dispatch", "dropped", "lost", "refused":
		c.late(r)
	case "clock_set":
		c.clock.set(c, r)
	case "recovery":
		c.recovered(r)
		c.torn.recovered(r)
	case "repair":
		c.proof.Repairs++
		c.torn.repaired(r)
		if kind, _, _ := strings.Cut(r.Detail, ": "); r.UUID == uuid.Nil || kind == "stray" || c.ended.has(r.UUID) {
			return nil // of a flow's counters, or of what tells of an ended or a lost cycle
		}
		fallthrough
	case "ready", "held", "declined", "claim", "suspect", "retry_later", "expire", "outcome":
		if x := c.cycle(r); x != nil {
			c.node(x, r)
		}
	}
	return nil // what a newer version adds is not judged
}

// leaderOnly names the records that no one but a leader may cause.
func leaderOnly(r ledger.Record) bool {
	switch r.Op {
	case "slot_skipped":
		return !strings.HasSuffix(r.Detail, " "+replaced) // by whoever replaces the schedule
	case "takeover", "dispatch", "expire", "repair", "cycle_removed", "flow_purged", "clock_set", "dropped", "fenced":
		return true
	case "cycle_start":
		return !manual(r)
	case "cycle_cancel":
		return r.Detail == "timeout"
	case "ready":
		return r.Detail == "retry" || r.Detail == "lost" || r.Detail == "mended"
	case "outcome":
		return r.Token == "" // skipped or swept
	}
	return false
}

// flowChanged follows what was done to a flow.
func (c *checker) flowChanged(r ledger.Record) {
	f := c.flow(r.Flow)
	c.proof.Checked[Holds]++
	next := map[string]string{"flow_paused": paused, "flow_resumed": active, "flow_deleted": deleting}[r.Op]
	switch {
	case r.Op == "flow_purged":
		if f.status == active || f.status == paused {
			c.breaks(Holds, r, "the flow is removed without being deleted")
		}
		c.purged(r, f)
		return
	case f.status == deleting:
		c.breaks(Holds, r, "%s while the flow is being deleted", r.Op)
	case r.Op == "flow_activated":
		c.activated(r, f)
	case next != "" && next == f.status:
		c.breaks(Holds, r, "%s while it was %s already", r.Op, f.status)
	}
	if next != "" {
		f.status = next
	}
}

// activated follows a new revision. The first of all begins the flow.
func (c *checker) activated(r ledger.Record, f *flow) {
	number, how, _ := strings.Cut(r.Detail, " ")
	n, err := strconv.ParseInt(number, 10, 64)
	switch {
	case err != nil || n < 1 || (how != "" && how != paused):
		c.breaks(Holds, r, "detail %q can't be read: want the revision, paused", r.Detail)
		return
	case n < f.revision:
		c.breaks(Holds, r, "revision %d is activated after revision %d was", n, f.revision)
	case n == 1 && f.revision == 0 && f.first == 0 && !f.began:
		f.first, f.whole = 1, true
	}
	if n == f.revision { // its state was lost, and counts anew
		c.proof.Repairs++
		f.whole, f.rebuilt, f.status, f.started = false, true, "", 0
		clear(f.skipped)
		clear(f.ended)
	}
	if f.whole && f.revision == 0 { // the first of the flow says how it begins
		f.status = cmp.Or(how, active)
	}
	f.revision = max(f.revision, n)
}

// purged forgets a removed flow; one made again under the same id is another.
func (c *checker) purged(r ledger.Record, f *flow) {
	for id, x := range c.cycles {
		if x.flow == r.Flow {
			c.breaks(Ends, r, "the flow is removed, and its cycle %d was neither ended nor removed", x.number)
			delete(c.cycles, id)
		}
	}
	c.disown(r.Flow)
	f.status, f.began, f.first, f.last, f.forgotten = "", false, 1, 0, 0
	f.whole, f.rebuilt, f.revision, f.started = true, false, 0, 0
	clear(f.skipped)
	clear(f.ended)
	if f.grid != nil {
		f.grid.leave()
	}
}

// disown takes back what the plans of a flow have shown so far: they were read
// after the flow was removed, so they are those of a later one.
func (c *checker) disown(id ids.FlowID) {
	f := c.flow(id)
	c.retract(id, byPlan)
	c.proof.Unplanned += f.planned
	f.planned = 0
	for k := range c.plans {
		if k.flow == id {
			delete(c.plans, k)
		}
	}
}

// plan returns a revision's plan, or nil.
func (c *checker) plan(id ids.FlowID, n int64) (*plan.Plan, error) {
	k := revision{id, n}
	if p, known := c.plans[k]; known {
		return p, nil
	}
	p, err := c.src.Plan(c.ctx, id, n)
	if err != nil {
		return nil, fmt.Errorf("audit: plan of %s revision %d: %w", id, n, err)
	}
	if len(c.plans) >= maxPlans {
		clear(c.plans)
	}
	c.plans[k] = p
	return p, nil
}
