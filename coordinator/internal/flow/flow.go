package flow

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/coordinator/internal/schedule"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Options is what a caller knows beside the document.
type Options struct {
	// FlowID is the flow's id as given beside the document, for example in a
	// URL. A document that names another one is refused.
	FlowID string
	// Interval is an interval given beside the document, for documents that
	// have none of their own. A different one in the document is a fault.
	Interval string
	// KnownType tells whether some worker of a pool runs a node type. Nil
	// means that every type is known.
	KnownType func(nodeType, pool string) bool
	// CheckExpr checks an edge's "when" expression. Nil means no check.
	CheckExpr func(expr string) error
}

// Flow is a checked document in its normal form. It is immutable: treat all
// that is reached from it as read-only.
type Flow struct {
	ID            ids.FlowID
	Name          string
	ScheduleType  schedule.Kind
	Interval      time.Duration // periodic only
	Cron          string        // cron only
	Timezone      string        // cron only
	Overlap       string
	Catchup       string
	CatchupWindow time.Duration
	CycleTimeout  time.Duration // 0 = none
	OnFailure     string        // plan.FailCycle | plan.Continue
	Nodes         []Node        // in the document's order
	Edges         []Edge        // in the document's order

	extra     []member // unknown fields of the document, sorted by key
	graph     graph
	canonical []byte
}

// Node is a vertex of a flow.
type Node struct {
	ID         ids.NodeID
	Type       string
	Parameters json.RawMessage // a JSON object with sorted keys
	Pool       string
	Timeout    time.Duration // of one attempt
	Retry      plan.Retry
	Delivery   string
	Join       string
	Aggregate  string

	extra []member
}

// Edge carries one handle of its source to one handle of its target.
type Edge struct {
	Source       ids.NodeID
	SourceHandle string
	Target       ids.NodeID
	TargetHandle string
	When         string // CEL over value; empty = always

	extra []member
}

// Structure is the shape of a flow's graph.
type Structure struct {
	Components [][]ids.NodeID `json:"components"` // numbered by first node, nodes in the document's order
	Entries    []ids.NodeID   `json:"entries"`    // nodes without incoming edges
	Sinks      []ids.NodeID   `json:"sinks"`      // nodes without outgoing edges
	Levels     []int          `json:"levels"`     // number of nodes per level, entry nodes first
}

// Parse reads a flow document, JSON or YAML, in any of the accepted spellings
// and checks it. Its error is *Invalid and lists every fault that can be seen
// together.
func Parse(body []byte, o Options) (*Flow, error) {
	r := reader{opts: o}
	root, ok := decode(body, &r.faults)
	if !ok {
		return nil, r.faults.err()
	}
	f := r.document(root)
	if err := r.faults.err(); err != nil {
		return nil, err
	}
	f.canonical = f.encode()
	if len(f.canonical) > MaxBody {
		r.faults.add(CodeTooLarge, "", "the document has %d bytes in its canonical form; at most %d are allowed", len(f.canonical), MaxBody)
		return nil, r.faults.err()
	}
	return f, nil
}

// Canonical returns the document in its canonical form: JSON with a fixed order
// of fields, defaults of nodes and edges left out, unknown fields kept. Documents
// of the same meaning have the same bytes. The caller must not change them.
func (f *Flow) Canonical() []byte { return f.canonical }

// Schedule returns the flow's schedule, which Parse has checked.
func (f *Flow) Schedule() schedule.Spec {
	return schedule.Spec{Kind: f.ScheduleType, Interval: f.Interval, Cron: f.Cron, Timezone: f.Timezone,
		Overlap: f.Overlap, Catchup: f.Catchup, CatchupWindow: f.CatchupWindow}
}

// Structure returns the shape of the flow's graph.
func (f *Flow) Structure() Structure { return f.graph.structure(f.Nodes) }

// Compile makes the plan of one revision of the flow. uid is the flow's
// incarnation. The plan shares memory with the flow and must not be changed.
func (f *Flow) Compile(uid uuid.UUID, revision int64) *plan.Plan {
	return compile(f, uid, revision)
}
