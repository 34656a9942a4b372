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
}

// Mirror is safe for concurrent use.
type Mirror struct {
	ledger   Ledger
	registry Registry
	log      hclog.Logger
}

// New makes a mirror.
func New(l Ledger, r Registry, log hclog.Logger) *Mirror { return &Mirror{l, r, log} }

// Install writes a flow's revision into the ledger and makes it the active one.
// ledger.ErrDeleting while an earlier flow of that id is being removed;
// ledger.ErrStale when the ledger has a newer revision.
func (m *Mirror) Install(ctx context.Context, f *registry.Flow) error {
	if err := m.ledger.WritePlan(ctx, f.Plan); err != nil {
		return err
	}
	return m.ledger.ActivateFlow(ctx, ledger.Activation{
		Flow: f.Record.Flow, UID: f.Record.UID, Revision: f.Record.Revision, Document: f.Record.Document,
		Anchor: f.Record.Anchor, Paused: f.Paused,
	})
}

// All makes the ledger equal to the registry. It returns the states of the flows
// as they were found, zero for those the ledger did not know, and the flows that can't be installed yet because an earlier
// flow of their id is being removed.
func (m *Mirror) All(ctx context.Context) (map[ids.FlowID]ledger.FlowState, []ids.FlowID, error) {
	names, err := m.ledger.FlowIDs(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, id := range names {
		if m.registry.Get(id) == nil {
			if _, err := m.ledger.DeleteFlow(ctx, id); err != nil && !errors.Is(err, ledger.ErrGone) {
				return nil, nil, err
			}
			m.log.Info("flow is not in the catalog any more and is removed", "flow", id)
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
	var later []ids.FlowID
	for _, f := range flows {
		s, known := states[f.Record.Flow]
		if err := m.one(ctx, f, s, known); err != nil {
			if errors.Is(err, ledger.ErrDeleting) || errors.Is(err, ledger.ErrStale) {
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

// One makes the ledger's copy of one flow equal to the registry's.
func (m *Mirror) One(ctx context.Context, id ids.FlowID) error {
	f := m.registry.Get(id)
	if f == nil {
		_, err := m.ledger.DeleteFlow(ctx, id)
		if errors.Is(err, ledger.ErrGone) {
			return nil
		}
		return err
	}
	states, err := m.ledger.Flows(ctx, []ids.FlowID{id})
	if err != nil {
		return err
	}
	s, known := states[id]
	return m.one(ctx, f, s, known)
}

func (m *Mirror) one(ctx context.Context, f *registry.Flow, s ledger.FlowState, known bool) error {
	id := f.Record.Flow
	if !known || s.UID != f.Record.UID || s.Revision < f.Record.Revision || s.Status == "deleting" {
		if known && s.Status != "deleting" && s.UID != f.Record.UID { // a deletion this ledger never heard of
			if _, err := m.ledger.DeleteFlow(ctx, id); err != nil {
				return err
			}
		}
		return m.Install(ctx, f)
	}
	switch {
	case f.Paused && s.Status == "active":
		_, err := m.ledger.PauseFlow(ctx, id)
		return err
	case !f.Paused && s.Status == "paused":
		_, err := m.ledger.ResumeFlow(ctx, id)
		return err
	}
	return nil
}
