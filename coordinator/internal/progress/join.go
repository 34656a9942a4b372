package progress

import "github.com/tradingflow/weather-station/shared/plan"

// Result is what became of an edge when its source ended.
type Result int

// Results of an edge.
const (
	Live Result = iota
	Dead
	Failed
)

// Reasons of a skip, as stored with the node.
const (
	NotTaken       = "not_taken"       // the branch it stands on was not taken
	UpstreamFailed = "upstream_failed" // an input it needs comes from a failure
)

// Join counts the decided edges into a node.
type Join struct {
	Live, Dead, Failed int
	Degree             int // edges in all

	alone bool // one node leads to it, and all of that node's edges live are enough: see ledger's script prelude
}

// uncounted reports whether the join was decided at once, so that no counter knows of it.
func (j Join) uncounted() bool { return j.alone && j.Live == j.Degree }

// Decided reports whether every edge has a result.
func (j Join) Decided() bool { return j.Live+j.Dead+j.Failed >= j.Degree }

// Verdict is what becomes of a node whose join is decided.
type Verdict struct {
	Run    bool
	Reason string // of a skip
	Passes Result // what the edges of a skipped node become
}

// Decide applies a join rule. The join must be decided.
func Decide(rule string, j Join) Verdict {
	var run bool
	switch rule {
	case plan.AllDone:
		run = true
	case plan.OneSuccess:
		run = j.Live > 0
	case plan.NoneFailed:
		run = j.Failed == 0 && j.Live > 0
	default: // all_success
		run = j.Live == j.Degree
	}
	switch {
	case run:
		return Verdict{Run: true}
	case j.Failed > 0:
		return Verdict{Reason: UpstreamFailed, Passes: Failed}
	default:
		return Verdict{Reason: NotTaken, Passes: Dead}
	}
}
