// Package plan is a flow's revision compiled for running: what a coordinator
// writes into the ledger once and what scripts, the leader and workers read
// while a cycle runs. It holds data and its codec, no behaviour.
package plan

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
)

// What a failed node does to its cycle.
const (
	FailCycle = "fail_cycle" // the node's component ends; the cycle ends failed
	Continue  = "continue"   // only what needs the node is skipped
)

// Delivery modes of a node.
const (
	AtLeastOnce = "at_least_once"
	AtMostOnce  = "at_most_once"
)

// Join rules: what a node's inputs must have come to before it runs.
const (
	AllSuccess = "all_success"
	AllDone    = "all_done"
	OneSuccess = "one_success"
	NoneFailed = "none_failed"
)

// How several edges into one handle become one value.
const (
	AggregateList  = "list"
	AggregateMerge = "merge"
)

// DefaultHandle is the handle of an edge that names none. As a source it
// carries the output "default" when the node emitted one, and the node's whole
// result otherwise.
const DefaultHandle = "default"

// DefaultPool is the pool of a node that names none.
const DefaultPool = "default"

// Plan is one revision of a flow, compiled.
type Plan struct {
	Flow         ids.FlowID
	UID          uuid.UUID // the flow's incarnation: new after delete and register
	Revision     int64
	OnFailure    string
	CycleTimeout time.Duration // 0 = none
	Components   int
	Nodes        []Node // in the document's order

	index map[ids.NodeID]int
}

// Node is a vertex of a plan.
type Node struct {
	ID         ids.NodeID      `json:"id"`
	Type       string          `json:"type"`
	Pool       string          `json:"pool"`
	Component  int             `json:"component"` // 0, 1, … by first node in the document
	Level      int             `json:"level"`     // 1 for an entry node
	Parameters json.RawMessage `json:"parameters,omitempty"`
	Timeout    time.Duration   `json:"timeout"` // of one attempt
	Retry      Retry           `json:"retry"`
	Delivery   string          `json:"delivery"`
	Join       string          `json:"join"`
	Aggregate  string          `json:"aggregate"`
	Inputs     []Input         `json:"inputs,omitempty"`     // in the order of the document's edges
	Successors []Successor     `json:"successors,omitempty"` // one per target node
}

// Retry is a node's retry policy.
type Retry struct {
	Enabled    bool          `json:"enabled"`
	MaxRetries int           `json:"max_retries"`
	Backoff    time.Duration `json:"backoff"`
	MaxBackoff time.Duration `json:"max_backoff"`
	Jitter     bool          `json:"jitter"`
}

// Input is one incoming edge.
type Input struct {
	Source       ids.NodeID `json:"source"`
	SourceHandle string     `json:"source_handle"`
	TargetHandle string     `json:"target_handle"`
}

// Successor is a node with at least one edge from this one.
type Successor struct {
	Target   ids.NodeID `json:"target"`
	InDegree int        `json:"in_degree"` // edges into Target, from every node
	Plain    bool       `json:"plain"`     // Target joins by all_success: a script can decide it
	Edges    []Edge     `json:"edges"`
	// Direct is Target's type if a worker that completes this node may claim it with the
	// report: the pool is the same, and it may be started more than once.
	Direct string `json:"direct,omitempty"`
}

// Edge is one outgoing edge of a successor.
type Edge struct {
	SourceHandle string `json:"source_handle"`
	When         string `json:"when,omitempty"` // CEL over value; empty = always
}

// Node returns the node of that id, or nil.
func (p *Plan) Node(id ids.NodeID) *Node {
	if p.index == nil {
		p.reindex()
	}
	if i, ok := p.index[id]; ok {
		return &p.Nodes[i]
	}
	return nil
}

// Entries returns the nodes without incoming edges, in the document's order.
func (p *Plan) Entries() []*Node {
	var out []*Node
	for i := range p.Nodes {
		if len(p.Nodes[i].Inputs) == 0 {
			out = append(out, &p.Nodes[i])
		}
	}
	return out
}

func (p *Plan) reindex() {
	m := make(map[ids.NodeID]int, len(p.Nodes))
	for i := range p.Nodes {
		m[p.Nodes[i].ID] = i
	}
	p.index = m
}

// Header is the part of a plan that is not a node, as kept in the ledger.
type Header struct {
	Flow         ids.FlowID    `json:"flow"`
	UID          uuid.UUID     `json:"uid"`
	Revision     int64         `json:"revision"`
	OnFailure    string        `json:"on_failure"`
	CycleTimeout time.Duration `json:"cycle_timeout"`
	Components   int           `json:"components"`
	Order        []ids.NodeID  `json:"order"`
}

// Header returns the plan's header.
func (p *Plan) Header() Header {
	h := Header{Flow: p.Flow, UID: p.UID, Revision: p.Revision, OnFailure: p.OnFailure,
		CycleTimeout: p.CycleTimeout, Components: p.Components, Order: make([]ids.NodeID, len(p.Nodes))}
	for i := range p.Nodes {
		h.Order[i] = p.Nodes[i].ID
	}
	return h
}

// Assemble builds a plan of a header and its nodes, given by id.
func Assemble(h Header, node func(ids.NodeID) (Node, error)) (*Plan, error) {
	p := &Plan{Flow: h.Flow, UID: h.UID, Revision: h.Revision, OnFailure: h.OnFailure,
		CycleTimeout: h.CycleTimeout, Components: h.Components, Nodes: make([]Node, 0, len(h.Order))}
	for _, id := range h.Order {
		n, err := node(id)
		if err != nil {
			return nil, fmt.Errorf("assemble plan of %s revision %d: node %s: %w", h.Flow, h.Revision, id, err)
		}
		p.Nodes = append(p.Nodes, n)
	}
	p.reindex()
	return p, nil
}

// Seal builds the plan's index. Call it once after filling Nodes by hand and
// before the plan is shared between goroutines.
func (p *Plan) Seal() *Plan { p.reindex(); return p }
