package mirror

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// Spread is the copy of one catalog in the ledgers of several partitions: each has the
// flows of its own, and all of them the catalog's marker. A catalog is restored from all
// or not at all, so what one can't tell nobody tells.
type Spread struct {
	Ledgers []CopyLedger
	Of      func(f ids.FlowID) int // the partition of a flow
}

var _ CopyLedger = Spread{}

// Origin returns what any partition knows of the catalog: one may have been emptied.
func (s Spread) Origin(ctx context.Context) (ledger.Origin, error) {
	var found ledger.Origin
	for _, l := range s.Ledgers {
		o, err := l.Origin(ctx)
		if err != nil {
			return ledger.Origin{}, err
		}
		if found.ID == "" || o.ID == found.ID && (o.Revision > found.Revision || o.Term > found.Term) {
			found = o
		}
	}
	return found, nil
}

// SetOrigin tells every partition, whatever becomes of the others.
func (s Spread) SetOrigin(ctx context.Context, o ledger.Origin) error {
	var faults []error
	for _, l := range s.Ledgers {
		faults = append(faults, l.SetOrigin(ctx, o))
	}
	return errors.Join(faults...)
}

// FlowIDs returns the flows of all partitions.
func (s Spread) FlowIDs(ctx context.Context) ([]ids.FlowID, error) {
	var all []ids.FlowID
	for p, l := range s.Ledgers {
		names, err := l.FlowIDs(ctx)
		if err != nil {
			return nil, err
		}
		for _, f := range names {
			if s.Of(f) == p { // not one that its leader has yet to remove
				all = append(all, f)
			}
		}
	}
	return all, nil
}

// Flows returns the states of flows, each from its partition.
func (s Spread) Flows(ctx context.Context, flows []ids.FlowID) (map[ids.FlowID]ledger.FlowState, error) {
	by := make([][]ids.FlowID, len(s.Ledgers))
	for _, f := range flows {
		p := s.Of(f)
		by[p] = append(by[p], f)
	}
	out := make(map[ids.FlowID]ledger.FlowState, len(flows))
	for p, own := range by {
		if len(own) == 0 {
			continue
		}
		states, err := s.Ledgers[p].Flows(ctx, own)
		if err != nil {
			return nil, err
		}
		for f, state := range states {
			out[f] = state
		}
	}
	return out, nil
}

// Document returns a flow's definition.
func (s Spread) Document(ctx context.Context, f ids.FlowID) ([]byte, error) {
	return s.Ledgers[s.Of(f)].Document(ctx, f)
}

// Deleted returns which incarnations any partition has seen deleted.
func (s Spread) Deleted(ctx context.Context, uids []uuid.UUID) (map[uuid.UUID]bool, error) {
	out := map[uuid.UUID]bool{}
	for _, l := range s.Ledgers {
		gone, err := l.Deleted(ctx, uids)
		if err != nil {
			return nil, err
		}
		for u, yes := range gone {
			out[u] = out[u] || yes
		}
	}
	return out, nil
}

// NoteRecovery tells it in the first partition that takes it.
func (s Spread) NoteRecovery(ctx context.Context, happened, done, kind string, count int) (err error) {
	for _, l := range s.Ledgers {
		if err = l.NoteRecovery(ctx, happened, done, kind, count); err == nil || ctx.Err() != nil {
			break
		}
	}
	return err
}
