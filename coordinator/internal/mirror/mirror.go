// Package mirror keeps the ledger's copy of the flows equal to the catalog in
// etcd. The catalog is what a client's 2xx rests on; the ledger's copy is what
// scripts and workers read. Whoever registers a flow mirrors it at once; the
// leader mirrors everything when its leadership begins and after Redis lost
// data, so that flows come back from etcd by themselves, pauses included.
package mirror

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/go-hclog"

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
	Flows(ctx context.Context, flows []ids.FlowID) (map[ids.FlowID]ledger.FlowState, error)
	FlowIDs(ctx context.Context) ([]ids.FlowID, error)
}

// Registry lists the flows that should be there.
type Registry interface {
	Get(id ids.FlowID) *registry.Flow
	List() []*registry.Flow
	// Fresh is Get by what etcd says now; nil when there is no such flow.
	Fresh(ctx context.Context, id ids.FlowID) (*registry.Flow, error)
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
	states, err := m.ledger.Flows(ctx, []ids.FlowID{id})
	if err != nil {
		return err
	}
	if s, known := states[id]; known && (s.Status == "deleting" || s.UID != f.Record.UID) {
		return fmt.Errorf("install %s: %w", id, ledger.ErrDeleting)
	}
	p, err := f.Plan()
	if err != nil {
		return err
	}
	if err := m.ledger.WritePlan(ctx, p); err != nil {
		return err
	}
	a := ledger.Activation{
		Flow: id, UID: f.Record.UID, Revision: f.Record.Revision, Document: f.Record.Document(),
		Anchor: f.Record.Anchor, Paused: f.Paused,
	}
	if s := states[id]; s.Revision > 0 && s.Revision < f.Record.Revision {
		a.Since = s.LastSlot
		left, err := f.Left(s.Anchor, s.LastSlot)
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

// All makes the ledger equal to the registry. It returns the states of the flows
// as they were found, zero for those the ledger did not know, and the flows that can't be installed yet because an earlier
// flow of their id is being removed.
func (m *Mirror) All(ctx context.Context) (map[ids.FlowID]ledger.FlowState, []ids.FlowID, error) {
	var later []ids.FlowID
	names, err := m.ledger.FlowIDs(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, id := range names {
		if m.registry.Get(id) != nil {
			continue
		}
		if err := m.One(ctx, id); putOff(err) {
			m.log.Warn("flow that is not in the catalog is removed later", "flow", id, "error", err)
			later = append(later, id)
		} else if err != nil {
			return nil, nil, err
		}
	}
	flows := m.registry.List()
	all := make([]ids.FlowID, len(flows))
	for i, f := range flows {
		all[i] = f.Record.Flow
	}
	states, err := m.ledger.Flows(ctx, all)
	if err != nil {
		return nil, nil, err
	}
	found := make(map[ids.FlowID]ledger.FlowState, len(flows))
	for _, f := range flows {
		s, known := states[f.Record.Flow]
		if err := m.one(ctx, f.Record.Flow, f, s, known, true); err != nil {
			if putOff(err) {
				m.log.Warn("flow is installed later", "flow", f.Record.Flow, "error", err)
				later = append(later, f.Record.Flow)
				continue
			}
			return found, later, fmt.Errorf("install %s: %w", f.Record.Flow, err)
		}
		if s.UID != f.Record.UID { // of an earlier flow by that id
			s = ledger.FlowState{}
		}
		found[f.Record.Flow] = s
	}
	return found, later, nil
}

// putOff reports whether an error concerns one flow and passes.
func putOff(err error) bool {
	return errors.Is(err, ledger.ErrDeleting) || errors.Is(err, ledger.ErrStale) || errors.Is(err, ledger.ErrNoPlan) || errors.Is(err, ErrUnconfirmed)
}

// One makes the ledger's copy of one flow equal to the registry's.
func (m *Mirror) One(ctx context.Context, id ids.FlowID) error {
	states, err := m.ledger.Flows(ctx, []ids.FlowID{id})
	if err != nil {
		return err
	}
	s, known := states[id]
	return m.one(ctx, id, m.registry.Get(id), s, known, false)
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

func needs(f *registry.Flow, s ledger.FlowState, known bool) need {
	switch {
	case f == nil && known && s.Status != "deleting":
		return shut
	case f == nil:
		return nothing
	case !known:
		return install
	case s.Status == "deleting":
		return wait
	case s.UID != f.Record.UID: // a deletion this ledger never heard of
		return shut
	case s.Revision < f.Record.Revision:
		return install
	case f.Paused && s.Status == "active":
		return pause
	case !f.Paused && s.Status == "paused":
		return resume
	}
	return nothing
}

// one does what the ledger's copy needs. s must have been read before f. This
// process may be behind etcd: a flow that is registered, paused or deleted through
// another coordinator stands in the ledger already. So nothing is removed,
// resumed or brought back without asking etcd again. bulk spares that for flows
// the ledger does not know at all: after a loss of Redis they are many.
func (m *Mirror) one(ctx context.Context, id ids.FlowID, f *registry.Flow, s ledger.FlowState, known, bulk bool) error {
	n := needs(f, s, known)
	if n == shut || n == resume || n == install && !known && !bulk {
		var err error
		if f, err = m.registry.Fresh(ctx, id); err != nil {
			return fmt.Errorf("flow %s: %w: %w", id, ErrUnconfirmed, err)
		}
		n = needs(f, s, known)
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
