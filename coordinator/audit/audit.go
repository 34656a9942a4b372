package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
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
)

// Rules lists every rule in the order they are reported.
func Rules() []string {
	return []string{Slots, Inputs, Offers, Claims, Attempts, Outcomes, Once, Holds, Epochs, Ends}
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
	// Grid returns where a periodic flow's present grid begins and how far its
	// slots lie apart; false for any other flow.
	Grid(f ids.FlowID) (anchor time.Time, interval time.Duration, ok bool)
}

// Range bounds an audit. Zero values leave a side open.
type Range struct {
	From, To time.Time  // both inclusive
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
	Checked    map[string]int64 `json:"checked"`   // how often each rule was applied; every rule has an entry
	Cycles     int64            `json:"cycles"`    // seen from start to end
	Open       int64            `json:"open"`      // started in the range and not ended in it
	Partial    int64            `json:"partial"`   // began before the range: checked in part
	Unplanned  int64            `json:"unplanned"` // their plan is not kept any more: checked in part
	Repairs    int64            `json:"repairs"`   // what the leader's audit put back; 0 while Redis loses nothing
	Restored   int64            `json:"restored"`  // claims that a heartbeat brought back after Redis had lost them
	Broken     int64            `json:"broken"`    // violations in all
	Violations []Violation      `json:"violations"`
	Took       time.Duration    `json:"took"`
}

const (
	page  = 2000 // records read at once
	tries = 3    // readings begun again when the journal is trimmed meanwhile
)

// Run audits a range of the journal. It fails with the errors of src, or with
// ErrTrimmed.
func Run(ctx context.Context, src Source, r Range) (Proof, error) {
	began := time.Now()
	for range tries {
		p, whole, err := pass(ctx, src, r)
		if err != nil {
			return Proof{}, err
		}
		if whole {
			p.Took = time.Since(began)
			return p, nil
		}
	}
	return Proof{}, ErrTrimmed
}

// pass reads the journal once. It is not whole when records were trimmed that
// had not been read.
func pass(ctx context.Context, src Source, r Range) (p Proof, whole bool, err error) {
	c := newChecker(ctx, src, r)
	after := ""
	if ms := r.From.UnixMilli(); !r.From.IsZero() && ms > 0 {
		after = fmt.Sprintf("%d-0", ms-1)
	}
	for first := true; ; first = false {
		records, err := src.Journal(ctx, after, page)
		if err != nil {
			return Proof{}, false, fmt.Errorf("audit: %w", err)
		}
		if !first {
			oldest, err := src.Journal(ctx, "", 1)
			if err != nil {
				return Proof{}, false, fmt.Errorf("audit: %w", err)
			}
			if len(oldest) == 0 || compareIDs(oldest[0].ID, after) > 0 {
				return Proof{}, false, nil
			}
		}
		for _, rec := range records {
			after = rec.ID
			if err := c.take(rec); err != nil {
				return Proof{}, false, err
			}
		}
		if len(records) < page {
			return c.finish(), true, nil
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

// compareIDs orders ids of a stream.
func compareIDs(a, b string) int {
	ams, aseq := splitID(a)
	bms, bseq := splitID(b)
	return cmp.Or(cmp.Compare(ams, bms), cmp.Compare(aseq, bseq))
}

func splitID(id string) (ms, seq uint64) {
	left, right, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseUint(left, 10, 64)
	seq, _ = strconv.ParseUint(right, 10, 64)
	return ms, seq
}
