// Package mirror keeps the ledger's copy of the flows equal to the catalog in
// etcd. The catalog is what a client's 2xx rests on; the ledger's copy is what
// scripts and workers read. Whoever registers a flow mirrors it at once; the
// leader mirrors everything when its leadership begins and after Redis lost
// data, so that flows come back from etcd by themselves, pauses included.
//
// There may be very many flows, and nearly all of them are as they should be. So they
// are looked at in pages, one read each, and what is found is told page by page: a
// leader goes on with the flows that it asked for first while the others are looked
// at. What is not as it should be is made good several flows at a time. Flows that the
// catalog does not have are looked for separately (Strays), by who knows that the
// registry is whole.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Ledger is what mirroring reads and writes.
type Ledger interface {
	WritePlan(ctx context.Context, p *plan.Plan) error
	ActivateFlow(ctx context.Context, a ledger.Activation) error
	PauseFlow(ctx context.Context, f ids.FlowID) (bool, error)
	ResumeFlow(ctx context.Context, f ids.FlowID) (bool, error)
	DeleteFlow(ctx context.Context, f ids.FlowID) (bool, error)
	FlowHeads(ctx context.Context, flows []ids.FlowID) ([]ledger.FlowHead, error)
	FlowIDs(ctx context.Context) ([]ids.FlowID, error)
}

// Registry lists the flows that should be there.
type Registry interface {
	Get(id ids.FlowID) *registry.Flow
	// Fresh is Get by what etcd says now; nil when there is no such flow.
	Fresh(ctx context.Context, id ids.FlowID) (*registry.Flow, error)
	// Confirm tells for which flows Get says what etcd has now.
	Confirm(ctx context.Context, flows []ids.FlowID) (map[ids.FlowID]bool, error)
}

// ErrUnconfirmed says that something has to be removed, resumed or brought back
// and that etcd could not be asked whether that is still so.
var ErrUnconfirmed = errors.New("etcd does not confirm it now")

// Mirror is safe for concurrent use.
type Mirror struct {
	ledger   Ledger
	registry Registry
	log      hclog.Logger
}

// New makes a mirror.
func New(l Ledger, r Registry, log hclog.Logger) *Mirror { return &Mirror{l, r, log} }

// Install writes a flow's revision into the ledger and makes it the active one.
// ledger.ErrDeleting while an earlier flow of that id is there: its plan is what
// its removal goes by, so nothing is written before it is gone. ledger.ErrNoPlan
// when that removal took the new plan along: install again. ledger.ErrStale when
// the ledger has a newer revision. Slots that an earlier schedule left behind are
// accounted for in the same step; while a leader accounts some of them just then, it
// is made again.
func (m *Mirror) Install(ctx context.Context, f *registry.Flow) error {
	for {
		err := m.install(ctx, f)
		if !errors.Is(err, ledger.ErrAccounted) || ctx.Err() != nil {
			return err
		}
	}
}

func (m *Mirror) install(ctx context.Context, f *registry.Flow) error {
	id := f.Record.Flow
	heads, err := m.ledger.FlowHeads(ctx, []ids.FlowID{id})
	if err != nil {
		return err
	}
	h := heads[0]
	if h.Known() && (h.Status == "deleting" || h.UID != f.Record.UID) {
		return fmt.Errorf("install %s: %w", id, ledger.ErrDeleting)
	}
	p, err := f.Compile()
	if err != nil {
		return err
	}
	if err := m.ledger.WritePlan(ctx, p); err != nil {
		return err
	}
	a := ledger.Activation{
		Flow: id, UID: f.Record.UID, Revision: f.Record.Revision, Document: f.Record.Document(),
		Anchor: f.Record.Anchor(), Paused: f.Paused,
	}
	if h.Revision > 0 && h.Revision < f.Record.Revision {
		a.Since = h.LastSlot
		left, err := f.Left(h.Anchor, h.LastSlot)
		if err != nil {
			return err
		}
		for _, run := range left {
			a.Left = append(a.Left, ledger.Run{First: run.From, Last: run.To, Count: run.Count, Reason: run.Reason})
		}
	}
	if err := m.ledger.ActivateFlow(ctx, a); err != nil {
		return err
	}
	for _, run := range a.Left {
		m.log.Warn("slots skipped", "flow", id, "count", run.Count, "from", run.First.UTC(), "to", run.Last.UTC(), "reason", run.Reason)
	}
	return nil
}

// Page is how many flows are looked at in one read.
const Page = 500

// at is how many flows are made good at once.
const at = 32

// Some makes the ledger's copies of flows equal to the registry's. found hears what the
// ledger had of each that the registry knows, zero for one that is new to it, page by page,
// those first that needed nothing; it is called from one goroutine at a time. Some
// returns the flows that can't be seen to yet, and why; its error says that a store is
// away. bulk is for many flows at once: see one.
func (m *Mirror) Some(ctx context.Context, flows []ids.FlowID, bulk bool, found func(f ids.FlowID, h ledger.FlowHead)) (map[ids.FlowID]error, error) {
	later := map[ids.FlowID]error{}
	for page := range slices.Chunk(flows, Page) {
		if err := m.page(ctx, page, bulk, found, later); err != nil {
			return nil, err
		}
	}
	return later, nil
}

func (m *Mirror) page(ctx context.Context, page []ids.FlowID, bulk bool, found func(f ids.FlowID, h ledger.FlowHead), later map[ids.FlowID]error) error {
	heads, err := m.ledger.FlowHeads(ctx, page)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	tell := func(f *registry.Flow, h ledger.FlowHead) {
		if f == nil || found == nil {
			return
		}
		if h.UID != f.Record.UID { // of an earlier flow by that id
			h = ledger.FlowHead{}
		}
		found(f.Record.Flow, h)
	}
	confirmed := m.confirm(ctx, page, heads, bulk)
	var g errgroup.Group
	g.SetLimit(at)
	for i, id := range page {
		f, h := m.registry.Get(id), heads[i]
		if needs(f, h) == nothing {
			mu.Lock()
			tell(f, h)
			mu.Unlock()
			continue
		}
		g.Go(func() error {
			err := m.one(ctx, id, f, h, bulk || confirmed[id])
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, ledger.ErrUnavailable) || ctx.Err() != nil:
				return err
			case err != nil: // it concerns this flow alone
				later[id] = err
			default:
				tell(m.registry.Get(id), h)
			}
			return nil
		})
	}
	return g.Wait()
}

// confirm asks etcd once about all flows of a page that the ledger does not know; heads
// must have been read before. What is not confirmed is asked for flow by flow.
func (m *Mirror) confirm(ctx context.Context, page []ids.FlowID, heads []ledger.FlowHead, bulk bool) map[ids.FlowID]bool {
	var unknown []ids.FlowID
	for i, id := range page {
		if !bulk && !heads[i].Known() && m.registry.Get(id) != nil {
			unknown = append(unknown, id)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	confirmed, err := m.registry.Confirm(ctx, unknown)
	if err != nil {
		return nil
	}
	return confirmed
}

// Strays removes from the ledger the flows that the catalog does not have. It returns
// those that can't be removed yet. The registry must be whole.
func (m *Mirror) Strays(ctx context.Context) (map[ids.FlowID]error, error) {
	names, err := m.ledger.FlowIDs(ctx)
	if err != nil {
		return nil, err
	}
	return m.Some(ctx, slices.DeleteFunc(names, func(f ids.FlowID) bool { return m.registry.Get(f) != nil }), false, nil)
}

// One makes the ledger's copy of one flow equal to the registry's.
func (m *Mirror) One(ctx context.Context, id ids.FlowID) error {
	heads, err := m.ledger.FlowHeads(ctx, []ids.FlowID{id})
	if err != nil {
		return err
	}
	confirmed := m.confirm(ctx, []ids.FlowID{id}, heads, false)
	return m.one(ctx, id, m.registry.Get(id), heads[0], confirmed[id])
}

// What a flow's copy needs.
type need int

const (
	nothing need = iota
	install
	wait // an earlier flow of that id is being removed
	shut
	pause
	resume
)

func needs(f *registry.Flow, h ledger.FlowHead) need {
	switch {
	case f == nil && h.Known() && h.Status != "deleting":
		return shut
	case f == nil:
		return nothing
	case !h.Known():
		return install
	case h.Status == "deleting":
		return wait
	case h.UID != f.Record.UID: // a deletion this ledger never heard of
		return shut
	case h.Revision < f.Record.Revision:
		return install
	case f.Paused && h.Status == "active":
		return pause
	case !f.Paused && h.Status == "paused":
		return resume
	}
	return nothing
}

// one does what the ledger's copy needs. h must have been read before f. This
// process may be behind etcd: a flow that is registered, paused or deleted through
// another coordinator stands in the ledger already. So nothing is removed,
// resumed or brought back without asking etcd again. bulk spares that for flows
// the ledger does not know at all: after a loss of Redis they are many. So it is where
// etcd has confirmed what f says since h was read.
func (m *Mirror) one(ctx context.Context, id ids.FlowID, f *registry.Flow, h ledger.FlowHead, bulk bool) error {
	n := needs(f, h)
	if n == shut || n == resume || n == install && !h.Known() && !bulk {
		var err error
		if f, err = m.registry.Fresh(ctx, id); err != nil {
			return fmt.Errorf("flow %s: %w: %w", id, ErrUnconfirmed, err)
		}
		n = needs(f, h)
	}
	var err error
	switch n {
	case install:
		return m.Install(ctx, f)
	case pause:
		_, err = m.ledger.PauseFlow(ctx, id)
	case resume:
		_, err = m.ledger.ResumeFlow(ctx, id)
	case shut:
		_, err = m.ledger.DeleteFlow(ctx, id)
		if err == nil {
			m.log.Info("flow is not in the catalog any more and is removed", "flow", id)
		}
		if errors.Is(err, ledger.ErrGone) {
			err = nil
		}
		if err == nil && f != nil { // its successor is installed when it is gone
			err = ledger.ErrDeleting
		}
	case wait:
		err = ledger.ErrDeleting
	case nothing:
	}
	if err != nil {
		return fmt.Errorf("flow %s: %w", id, err)
	}
	return nil
}
