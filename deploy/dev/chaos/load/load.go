// Package load makes the flows that run while faults come: chains of five nodes,
// diamonds, a fan of twenty and random graphs of record nodes, a share of which
// fails and a share of which may start only once. Everything follows from a seed.
package load

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/recorder"
)

// Config says what the flows are like. Zero values mean the defaults.
type Config struct {
	Seed     uint64
	Prefix   string        // of flow ids
	Flows    int           // with Interval; 12
	Interval time.Duration // 1 s
	NodeTime time.Duration // longest work of a node; 300 ms
	Fail     int           // percent of attempts that fail; 10
	Once     int           // percent of nodes that may start only once; 10
	Fast     int           // flows of one short node at FastEvery beside them; 1
	FastGap  time.Duration // between their slots; 100 ms
}

// Negative counts mean none.
func (c *Config) complete() {
	set := func(v *int, d int) {
		switch {
		case *v == 0:
			*v = d
		case *v < 0:
			*v = 0
		}
	}
	set(&c.Flows, 12)
	set(&c.Fail, 10)
	set(&c.Once, 10)
	set(&c.Fast, 1)
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	if c.NodeTime == 0 {
		c.NodeTime = 300 * time.Millisecond
	}
	if c.FastGap == 0 {
		c.FastGap = 100 * time.Millisecond
	}
}

// Flow is a flow document.
type Flow struct {
	ID        string  `json:"flow_id"`
	Schedule  string  `json:"schedule_type"`
	Seconds   float64 `json:"interval_seconds,omitempty"`
	Overlap   string  `json:"overlap"`
	Catchup   string  `json:"catchup"`
	Timeout   string  `json:"cycle_timeout"`
	OnFailure string  `json:"on_failure"`
	Nodes     []node  `json:"nodes"`
	Edges     []edge  `json:"edges"`
}

type node struct {
	ID         string         `json:"id"`
	Type       string         `json:"type"`
	Parameters map[string]any `json:"parameters"`
	Retry      map[string]any `json:"retry,omitempty"`
	Delivery   string         `json:"delivery,omitempty"`
}

type edge struct {
	Source string `json:"source"`
	From   string `json:"source_handle"`
	Target string `json:"target"`
	To     string `json:"target_handle"`
}

// Text returns the document.
func (f Flow) Text() []byte {
	b, err := json.Marshal(f)
	if err != nil {
		panic(err) // it is made of strings and numbers
	}
	return b
}

// Ended is the same flow without slots: what runs ends, and nothing new begins.
func (f Flow) Ended() Flow {
	f.Schedule, f.Seconds = "manual", 0
	return f
}

// Flows makes the flows.
func Flows(c Config) []Flow {
	c.complete()
	m := maker{c, rand.New(rand.NewPCG(c.Seed, 0x10ad))}
	shapes := []struct {
		name string
		make func(*Flow)
	}{{"chain", m.chain}, {"diamond", m.diamond}, {"random", m.random}, {"chain", m.chain}, {"diamond", m.diamond}, {"random", m.random}, {"fan", m.fan}}
	var out []Flow
	for i := range c.Flows {
		s := shapes[i%len(shapes)]
		f := m.flow(fmt.Sprintf("%s%s-%d", c.Prefix, s.name, i), c.Interval)
		s.make(&f)
		out = append(out, f)
	}
	for i := range c.Fast {
		f := m.flow(fmt.Sprintf("%sfast-%d", c.Prefix, i), c.FastGap)
		f.Overlap, f.Catchup = "allow", "latest"
		m.add(&f, "only", 0, false)
		f.Nodes[0].Parameters = map[string]any{"max_ms": 2, "seed": c.Seed}
		out = append(out, f)
	}
	return out
}

type maker struct {
	Config
	rand *rand.Rand
}

func (m *maker) pick(words ...string) string { return words[m.rand.IntN(len(words))] }

func (m *maker) flow(id string, every time.Duration) Flow {
	return Flow{ID: id, Schedule: "periodic", Seconds: every.Seconds(), Overlap: m.pick("allow", "skip"),
		Catchup: m.pick("latest", "none"), Timeout: "2m", OnFailure: m.pick("fail_cycle", "continue"), Edges: []edge{}}
}

func (m *maker) add(f *Flow, id string, longest time.Duration, once bool) {
	n := node{ID: id, Type: recorder.NodeType, Parameters: map[string]any{"max_ms": longest.Milliseconds(), "fail_percent": m.Fail, "seed": m.Seed}}
	if once || m.rand.IntN(100) < m.Once {
		n.Delivery = "at_most_once"
	} else {
		n.Retry = map[string]any{"enabled": true, "max_retries": 3, "backoff": "50ms", "max_backoff": "200ms", "jitter": true}
	}
	f.Nodes = append(f.Nodes, n)
}

func link(f *Flow, from, to string) {
	f.Edges = append(f.Edges, edge{from, "data", to, "from_" + from})
}

func (m *maker) chain(f *Flow) {
	for i := range 5 {
		m.add(f, fmt.Sprintf("n%d", i), m.NodeTime, false)
		if i > 0 {
			link(f, fmt.Sprintf("n%d", i-1), fmt.Sprintf("n%d", i))
		}
	}
}

func (m *maker) diamond(f *Flow) {
	for _, id := range []string{"top", "left", "right", "join"} {
		m.add(f, id, m.NodeTime, false)
	}
	link(f, "top", "left")
	link(f, "top", "right")
	link(f, "left", "join")
	link(f, "right", "join")
}

func (m *maker) fan(f *Flow) {
	m.add(f, "root", m.NodeTime, false)
	for i := range 20 {
		id := fmt.Sprintf("leaf%d", i)
		m.add(f, id, m.NodeTime, false)
		link(f, "root", id)
	}
}

// random has edges from earlier to later nodes only.
func (m *maker) random(f *Flow) {
	n := 4 + m.rand.IntN(6)
	for i := range n {
		m.add(f, fmt.Sprintf("n%d", i), m.NodeTime, false)
		for k := range i {
			if m.rand.IntN(100) < 35 {
				link(f, fmt.Sprintf("n%d", k), fmt.Sprintf("n%d", i))
			}
		}
	}
}
