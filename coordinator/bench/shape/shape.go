// Package shape holds the graphs that a benchmark runs and what a run of one
// measures. The product and the floor under it run the same jobs, so both speak
// of them in these words.
package shape

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Shape is the graph of one flow. Nodes are numbered from 0.
type Shape struct {
	Next  [][]int       `json:"next"` // successors of each node
	Sleep time.Duration `json:"sleep"`
}

// Job is a shape and how often it runs: Flows flows at the same time, and the
// Cycles cycles of each one after another. With Every a cycle of each flow is due
// at fixed instants instead, Every apart.
type Job struct {
	Name   string        `json:"name"`
	Shape  Shape         `json:"shape"`
	Flows  int           `json:"flows"`
	Cycles int           `json:"cycles"`
	Every  time.Duration `json:"every"`
	// Beside, when set, is a flow that the product runs again and again while the job
	// lasts, to see what the job does to others. The floor leaves it out.
	Beside *Job `json:"-"`
}

// Sample is what one run of a job showed.
type Sample struct {
	Took   time.Duration   `json:"took"` // from the first submit until the last end was seen
	Nodes  int             `json:"nodes"`
	Cycles []time.Duration `json:"cycles"` // how long each lasted
	Hops   []time.Duration `json:"hops"`   // from the end of a node's last predecessor to its own
	Late   []time.Duration `json:"late"`   // from a slot to the start of its cycle
	Beside []time.Duration `json:"-"`      // hops of the flow beside it
}

// Nodes counts the nodes that a run of the job runs.
func (j *Job) Nodes() int { return len(j.Shape.Next) * j.Flows * j.Cycles }

// Degrees returns how many predecessors each node has.
func (s *Shape) Degrees() []int {
	in := make([]int, len(s.Next))
	for _, next := range s.Next {
		for _, n := range next {
			in[n]++
		}
	}
	return in
}

// Chain is n nodes in a row.
func Chain(n int) Shape {
	next := make([][]int, n)
	for i := range n - 1 {
		next[i] = []int{i + 1}
	}
	return Shape{Next: next}
}

// Fan is one node, then n side by side, then one that waits for all of them.
func Fan(n int) Shape {
	next := make([][]int, n+2)
	for i := 1; i <= n; i++ {
		next[0] = append(next[0], i)
		next[i] = []int{n + 1}
	}
	return Shape{Next: next}
}

// Apart is n nodes that wait for nothing and take a while each.
func Apart(n int, sleep time.Duration) Shape { return Shape{Next: make([][]int, n), Sleep: sleep} }

// Chains is n nodes in chains of length nodes, side by side.
func Chains(n, length int) Shape {
	next := make([][]int, n)
	for i := range n {
		if (i+1)%length != 0 && i+1 < n {
			next[i] = []int{i + 1}
		}
	}
	return Shape{Next: next}
}

// NodeID is the id of a node in a flow document.
func NodeID(node int) string { return "n" + strconv.Itoa(node) }

// NodeOf is the reverse of NodeID; -1 for another text.
func NodeOf(id string) int {
	if len(id) < 2 || id[0] != 'n' {
		return -1
	}
	n, err := strconv.Atoi(id[1:])
	if err != nil || n < 0 {
		return -1
	}
	return n
}

type documentNode struct {
	ID         string            `json:"id"`
	Type       string            `json:"type"`
	Parameters map[string]string `json:"parameters"`
}

type documentEdge struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

type document struct {
	ID       string         `json:"flow_id"`
	Name     string         `json:"name"`
	Schedule string         `json:"schedule_type"`
	Seconds  float64        `json:"interval_seconds,omitempty"`
	Nodes    []documentNode `json:"nodes"`
	Edges    []documentEdge `json:"edges"`
}

// Document is the shape as a flow document. Its nodes are delays: they hold a slot
// of their worker for as long as they sleep, and pass nothing on.
func (j *Job) Document(id string) ([]byte, error) {
	d := document{ID: id, Name: "Load of a benchmark; may be deleted when none runs", Schedule: "manual", Edges: []documentEdge{}}
	if j.Every > 0 {
		d.Schedule, d.Seconds = "periodic", j.Every.Seconds()
	}
	for i, next := range j.Shape.Next {
		d.Nodes = append(d.Nodes, documentNode{ID: NodeID(i), Type: "delay", Parameters: map[string]string{"duration": j.Shape.Sleep.String()}})
		for _, n := range next {
			d.Edges = append(d.Edges, documentEdge{NodeID(i), NodeID(n)})
		}
	}
	b, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("write flow: %w", err)
	}
	return b, nil
}
