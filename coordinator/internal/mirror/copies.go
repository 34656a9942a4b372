package mirror

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/catalog"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// CopyLedger is what the ledger's copy of the catalog is read from.
type CopyLedger interface {
	Origin(ctx context.Context) (ledger.Origin, error)
	SetOrigin(ctx context.Context, o ledger.Origin) error
	FlowIDs(ctx context.Context) ([]ids.FlowID, error)
	Flows(ctx context.Context, flows []ids.FlowID) (map[ids.FlowID]ledger.FlowState, error)
	Document(ctx context.Context, f ids.FlowID) ([]byte, error)
	Deleted(ctx context.Context, uids []uuid.UUID) (map[uuid.UUID]bool, error)
	NoteRecovery(ctx context.Context, happened, done, kind string, count int) error
}

// Copies is the way back: what the catalog is restored from when etcd has lost it.
type Copies struct {
	ledger CopyLedger
	log    hclog.Logger
	told   func(what string) // hears of a restoration; may be nil
}

// NewCopies makes the ledger's copy of a catalog.
func NewCopies(l CopyLedger, log hclog.Logger, told func(what string)) *Copies {
	return &Copies{l, log, told}
}

var _ catalog.Copies = (*Copies)(nil)

// Origin implements catalog.Copies.
func (c *Copies) Origin(ctx context.Context) (catalog.History, error) {
	o, err := c.ledger.Origin(ctx)
	return catalog.History(o), err
}

// Adopt implements catalog.Copies.
func (c *Copies) Adopt(ctx context.Context, h catalog.History) error {
	return c.ledger.SetOrigin(ctx, ledger.Origin(h))
}

// Flows implements catalog.Copies. When a flow was created is not known any more:
// its schedule's anchor stands for that.
func (c *Copies) Flows(ctx context.Context) ([]catalog.Copy, error) {
	names, err := c.ledger.FlowIDs(ctx)
	if err != nil {
		return nil, err
	}
	states, err := c.ledger.Flows(ctx, names)
	if err != nil {
		return nil, err
	}
	out := make([]catalog.Copy, 0, len(states))
	for f, s := range states {
		if s.Status == "deleting" {
			continue
		}
		doc, err := c.ledger.Document(ctx, f)
		if err != nil {
			return nil, err
		}
		if len(doc) == 0 || s.UID == uuid.Nil || s.Revision < 1 {
			c.log.Error("the ledger's copy of a flow is not whole: the flow can't be restored from it", "flow", f)
			continue
		}
		out = append(out, catalog.Copy{Paused: s.Status == "paused", PausedAt: s.PausedAt, Record: catalog.Record{
			Flow: f, UID: s.UID, Revision: s.Revision, Document: doc, Anchor: s.Anchor, CreatedAt: s.Anchor, UpdatedAt: s.Anchor}})
	}
	return out, nil
}

// Deleted implements catalog.Copies.
func (c *Copies) Deleted(ctx context.Context, uids []uuid.UUID) (map[uuid.UUID]bool, error) {
	return c.ledger.Deleted(ctx, uids)
}

// Restored implements catalog.Copies.
func (c *Copies) Restored(ctx context.Context, what string, flows, removed int) error {
	done := fmt.Sprintf("%d flows restored from the ledger, %d deleted ones removed", flows, removed)
	if c.told != nil {
		c.told(what + ": " + done)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return c.ledger.NoteRecovery(ctx, what, done, "catalog", flows+removed)
}
