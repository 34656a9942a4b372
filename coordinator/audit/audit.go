package audit

import (
	"context"
	"errors"
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
	Offers   = "offers"
	Claims   = "claims"
	Attempts = "attempts"
	Outcomes = "outcomes"
	Once     = "once"
	Holds    = "holds"
	Epochs   = "epochs"
	Ends     = "ends"
	Journal  = "journal"
	Counters = "counters"
	State    = "state"
)

// Rules lists every rule in the order they are reported.
func Rules() []string {
	return []string{Slots, Inputs, Offers, Claims, Attempts, Outcomes, Once, Holds, Epochs, Ends, Journal, Counters, State}
}

// ErrTrimmed says that the journal lost records at its beginning faster than
// they could be read.
var ErrTrimmed = errors.New("audit: the journal is trimmed faster than it can be read; ask for a shorter range")

// Source is what an audit reads.
type Source interface {
	// Journal returns up to count records with ids after the given one ("" = the
	// oldest kept).
	Journal(ctx context.Context, after string, count int64) ([]ledger.Record, error)
	// Plan returns a revision's plan, or nil when it is not kept any more.
	Plan(ctx context.Context, f ids.FlowID, revision int64) (*plan.Plan, error)
	// Grid returns where a flow's present slots lie, without interval and Next where it
	// has none; false for a flow that is not known.
	Grid(f ids.FlowID) (Grid, bool)
}

// Grid is where a flow's slots lie: from the anchor on, an interval apart, or by
// Next.
type Grid struct {
	Anchor   time.Time
	Interval time.Duration
	Next     func(after time.Time) time.Time // the first slot later than an instant, zero = none; nil = by Interval
	Name     string                          // tells two schedules with a Next apart
	Until    time.Time                       // of a past grid: the last instant that was its own
	Past     []Grid                          // the grids before it, oldest first; each ends where the next begins
}

// Range bounds an audit. Zero values leave a side open.
type Range struct {
	From, To time.Time  // both inclusive
	Flow     ids.FlowID // "" = every flow
}

// Violation is a record that breaks a rule.
type Violation struct {
	Rule    string     `json:"rule"`
	Record  string     `json:"record,omitempty"` // id in the journal
	Key     string     `json:"key,omitempty"`    // of the ledger, without its prefix, where the state breaks a rule
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
	Checked    map[string]int64 `json:"checked"`   // how often each rule was applied; every rule has an entry
	Cycles     int64            `json:"cycles"`    // seen from start to end
	Open       int64            `json:"open"`      // started in the range and not ended in it
	Partial    int64            `json:"partial"`   // began before the range: checked in part
	Unplanned  int64            `json:"unplanned"` // their plan is not kept any more: checked in part
	Repairs    int64            `json:"repairs"`   // what the leader's audit put back; 0 while Redis loses nothing
	Restored   int64            `json:"restored"`  // claims that a heartbeat brought back after Redis had lost them
	Torn       int64            `json:"torn"`      // cycles that lack records since Redis was restarted in the middle of a step; they were repaired
	Removed    int64            `json:"trimmed"`   // entries that the journal's cap has dropped, where the server tells
	Flows      int64            `json:"flows"`     // whose state was compared with the journal
	Compared   int64            `json:"compared"`  // cycles whose counters and nodes were
	Nodes      int64            `json:"nodes"`     // node records that were
	Moving     int64            `json:"moving"`    // flows and cycles that moved whenever they were looked at: not compared
	Slots      []SlotCount      `json:"slots"`     // by flow, for those with a grid
	Broken     int64            `json:"broken"`    // violations in all
	Violations []Violation      `json:"violations"`
	Took       time.Duration    `json:"took"`
}

// SlotCount tells what became of a flow's slots from First to Last on its present
// grid: Due = Started + Skipped + Pending.
type SlotCount struct {
	Flow        ids.FlowID       `json:"flow_id"`
	First, Last time.Time        `json:"-"`
	Due         int64            `json:"due"`
	Started     int64            `json:"started"`
	Skipped     map[string]int64 `json:"skipped"` // by reason
	Pending     int64            `json:"pending"` // due and not accounted yet
}

const (
	page  = 2000 // records read at once
	tries = 3    // readings begun again when the journal is trimmed meanwhile
)

// Run audits a range of the journal and, when its end is open, the state that the
// ledger holds now. books may be nil: then only the journal is looked at. It fails
// with the errors of what it reads, or with ErrTrimmed.
func Run(ctx context.Context, src Source, books Books, r Range) (Proof, error) {
	began := time.Now()
	for range tries {
		c := newChecker(ctx, src, r)
		whole, err := c.readOn()
		if err == nil && whole && books != nil {
			err = c.compare(books)
		}
		if errors.Is(err, ErrTrimmed) {
			continue
		}
		if err != nil {
			return Proof{}, err
		}
		if whole {
			p := c.finish()
			p.Took = time.Since(began)
			return p, nil
		}
	}
	return Proof{}, ErrTrimmed
}

// readOn reads the journal to its end, from where it was left. It is not whole
// when records were trimmed that had not been read.
func (c *checker) readOn() (whole bool, err error) {
	if ms := c.bounds.From.UnixMilli(); c.after == "" && !c.bounds.From.IsZero() && ms > 0 {
		c.after = fmt.Sprintf("%d-0", ms-1)
	}
	for first := c.proof.Records == 0; ; first = false {
		records, err := c.src.Journal(c.ctx, c.after, page)
		if err != nil {
			return false, fmt.Errorf("audit: %w", err)
		}
		if !first && len(records) > 0 {
			oldest, err := c.src.Journal(c.ctx, "", 1)
			if err != nil {
				return false, fmt.Errorf("audit: %w", err)
			}
			if len(oldest) == 0 || ledger.CompareIDs(oldest[0].ID, c.after) > 0 {
				return false, nil
			}
		}
		for _, rec := range records {
			c.after = rec.ID
			if err := c.take(rec); err != nil {
				return false, err
			}
		}
		if len(records) < page {
			return true, nil
		}
	}
}

// take hands a record on if it lies in the range. Of what lies behind the range,
// the removal of a flow still counts: the plans read meanwhile are not those of
// the cycles before it.
func (c *checker) take(rec ledger.Record) error {
	if c.bounds.Flow != "" && rec.Flow != c.bounds.Flow && rec.Flow != "" {
		return nil
	}
	switch {
	case !c.bounds.From.IsZero() && rec.At.Before(c.bounds.From):
		return nil
	case !c.bounds.To.IsZero() && rec.At.After(c.bounds.To):
		if rec.Op == "flow_purged" {
			c.disown(rec.Flow)
		}
		return nil
	}
	return c.record(rec)
}
