package registry

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tradingflow/weather-station/coordinator/internal/catalog"
	"github.com/tradingflow/weather-station/coordinator/internal/flow"
	"github.com/tradingflow/weather-station/coordinator/internal/schedule"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Flow is one flow. What it means never changes: a new revision makes a new one.
type Flow struct {
	Record   *catalog.Kept
	Schedule *schedule.Schedule
	Paused   bool

	from, next int64    // the first slot after from that was found last, in Unix milliseconds; from 0: none was
	fields     uint32   // of the stored plan, counted when somebody first asks; 0: not yet
	pools      []string // nil: the default one
	plans      *compiled
}

// Build makes a Flow of a record.
func Build(r catalog.Record) (*Flow, error) {
	return build(catalog.Keep(r), compile, &compiled{})
}

// build makes a Flow; scheduled finds the schedule of an outline.
func build(k *catalog.Kept, scheduled func(text string) (*schedule.Schedule, error), plans *compiled) (*Flow, error) {
	o, err := flow.ReadOutline(k.Document())
	if err != nil {
		return nil, fmt.Errorf("stored flow %s: %w", k.Flow, err)
	}
	s, err := scheduled(o.Schedule)
	if err != nil {
		return nil, fmt.Errorf("stored flow %s: %w", k.Flow, err)
	}
	return &Flow{Record: k, Schedule: s, pools: o.Pools, plans: plans}, nil
}

func compile(text string) (*schedule.Schedule, error) {
	spec, err := flow.ReadSchedule(text)
	if err != nil {
		return nil, err
	}
	return schedule.Compile(spec)
}

// Document parses the flow's document.
func (f *Flow) Document() (*flow.Flow, error) {
	doc, err := flow.Parse(f.Record.Document(), flow.Options{})
	if err != nil {
		return nil, fmt.Errorf("stored flow %s: %w", f.Record.Flow, err)
	}
	return doc, nil
}

// Plan returns the compiled flow. An error says that the stored document can't be
// read here: another version wrote it.
func (f *Flow) Plan() (*plan.Plan, error) {
	if p := f.plans.get(f.Record); p != nil {
		return p, nil
	}
	p, err := f.Compile()
	if err == nil {
		f.plans.put(f.Record, p, weigh(p))
	}
	return p, err
}

// Compile makes the plan anew, for who needs it once.
func (f *Flow) Compile() (*plan.Plan, error) {
	doc, err := f.Document()
	if err != nil {
		return nil, err
	}
	return doc.Compile(f.Record.UID, f.Record.Revision).Seal(), nil
}

// PlanFields is how many fields the ledger's copy of the plan has to have.
func (f *Flow) PlanFields() (int64, error) {
	if n := atomic.LoadUint32(&f.fields); n > 0 {
		return int64(n), nil
	}
	p, err := f.Compile()
	if err != nil {
		return 0, err
	}
	n := ledger.PlanFields(p)
	atomic.StoreUint32(&f.fields, uint32(n))
	return n, nil
}

// Pools returns the pools that the flow's nodes are for.
func (f *Flow) Pools() []string {
	if f.pools == nil {
		return []string{plan.DefaultPool}
	}
	return f.pools
}

// paused is the same flow, held or not.
func (f *Flow) paused(yes bool) *Flow {
	return &Flow{Record: f.Record, Schedule: f.Schedule, Paused: yes, fields: atomic.LoadUint32(&f.fields), pools: f.pools, plans: f.plans}
}

// writing stands in place of from while next is written: who reads then computes.
const writing = -1

// Next returns the first slot after an instant, and whether there is one. The answer is
// kept, for a new leader asks it of every flow at once: a cron expression takes
// microseconds to answer, and most flows have no slot for a long time.
func (f *Flow) Next(after time.Time) (time.Time, bool) {
	ms := after.UnixMilli()
	from, next := atomic.LoadInt64(&f.from), atomic.LoadInt64(&f.next)
	if from > 0 && from <= ms && ms < next && from == atomic.LoadInt64(&f.from) {
		return time.UnixMilli(next).UTC(), true
	}
	slot, some := f.Schedule.Next(after, f.Record.Anchor())
	if some && from != writing && atomic.CompareAndSwapInt64(&f.from, from, writing) {
		atomic.StoreInt64(&f.next, slot.UnixMilli())
		atomic.StoreInt64(&f.from, ms)
	}
	return slot, some
}

// most is how many nodes and edges the plans that are kept may have together, half
// of it in each generation: some 20 MB of small flows.
const most = 100_000

// compiled keeps the plans that were asked for lately: a tick, an offer and a result
// find the plan they need, and a flow that runs once a day costs no more than its
// document. There are two generations; the older one goes when the younger is full.
type compiled struct {
	mu           sync.Mutex
	young, older map[*catalog.Kept]*plan.Plan
	weight       int // of the young
}

// weigh counts what a plan takes memory for.
func weigh(p *plan.Plan) int {
	n := 2 + len(p.Nodes)
	for i := range p.Nodes {
		n += len(p.Nodes[i].Inputs)
	}
	return n
}

func (c *compiled) get(k *catalog.Kept) *plan.Plan {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.young[k]; p != nil {
		return p
	}
	p := c.older[k]
	if p != nil {
		delete(c.older, k)
		c.add(k, p, weigh(p))
	}
	return p
}

func (c *compiled) put(k *catalog.Kept, p *plan.Plan, weight int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(k, p, weight)
}

func (c *compiled) add(k *catalog.Kept, p *plan.Plan, weight int) {
	if c.young == nil || c.weight+weight > most/2 {
		c.older, c.young, c.weight = c.young, map[*catalog.Kept]*plan.Plan{}, 0
	}
	c.young[k] = p
	c.weight += weight
}
