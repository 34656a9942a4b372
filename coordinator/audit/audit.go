package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Rules, as named in a violation.
const (
	Slots    = "slots"
	Inputs   = "inputs"
	Claims   = "claims"
	Outcomes = "outcomes"
	Once     = "once"
	Epochs   = "epochs"
	Ends     = "ends"
)

// Rules lists every rule in the order they are reported.
func Rules() []string { return []string{Slots, Inputs, Claims, Outcomes, Once, Epochs, Ends} }

// Source is what an audit reads.
type Source interface {
	// Journal returns up to count records with ids after the given one.
	Journal(ctx context.Context, after string, count int64) ([]ledger.Record, error)
	// Plan returns a revision's plan, or nil when it is not kept any more.
	Plan(ctx context.Context, f ids.FlowID, revision int64) (*plan.Plan, error)
	// Grid returns where a periodic flow's present grid begins and how far its
	// slots lie apart; false for any other flow.
	Grid(f ids.FlowID) (anchor time.Time, interval time.Duration, ok bool)
}

// Range bounds an audit. Zero values leave a side open.
type Range struct {
	From, To time.Time
	Flow     ids.FlowID // "" = every flow
}

// Violation is a record that breaks a rule.
type Violation struct {
	Rule    string     `json:"rule"`
	Record  string     `json:"record"` // id in the journal
	At      time.Time  `json:"at"`
	Flow    ids.FlowID `json:"flow_id,omitempty"`
	Cycle   int64      `json:"cycle,omitempty"`
	Node    ids.NodeID `json:"node_id,omitempty"`
	Message string     `json:"message"`
}

// MaxViolations bounds the list of a proof; the count goes on.
const MaxViolations = 1000

// Proof is what an audit found.
type Proof struct {
	Clean      bool             `json:"clean"`
	Records    int64            `json:"records"`
	First      string           `json:"first,omitempty"` // ids of the records at both ends
	Last       string           `json:"last,omitempty"`
	Checked    map[string]int64 `json:"checked"`   // how often each rule was applied
	Cycles     int64            `json:"cycles"`    // seen from start to end
	Open       int64            `json:"open"`      // started in the range and not ended in it
	Partial    int64            `json:"partial"`   // began before the range: checked in part
	Unplanned  int64            `json:"unplanned"` // their plan is not kept any more: checked in part
	Broken     int64            `json:"broken"`    // violations in all
	Violations []Violation      `json:"violations"`
	Took       time.Duration    `json:"took"`
}

// Run audits a range of the journal.
func Run(ctx context.Context, src Source, r Range) (Proof, error) {
	began := time.Now()
	c := newChecker(ctx, src)
	after := ""
	if !r.From.IsZero() {
		after = fmt.Sprintf("%d-0", r.From.UnixMilli()-1)
	}
	for {
		page, err := src.Journal(ctx, after, 2000)
		if err != nil {
			return Proof{}, fmt.Errorf("audit: %w", err)
		}
		for _, rec := range page {
			after = rec.ID
			if !r.To.IsZero() && rec.At.After(r.To) {
				page = nil
				break
			}
			if r.Flow != "" && rec.Flow != r.Flow && rec.Flow != "" {
				continue
			}
			if err := c.record(rec); err != nil {
				return Proof{}, err
			}
		}
		if len(page) < 2000 {
			break
		}
	}
	p := c.finish()
	p.Took = time.Since(began)
	return p, nil
}
