package flow

import "time"

// Limits of a flow document. A document of MaxNodes nodes and MaxEdges edges
// with short ids and both handles named takes about 5.5 MB, which MaxBody admits.
const (
	MaxBody       = 8 << 20  // bytes of a document, as sent and in canonical form
	MaxYAML       = 2 << 20  // bytes of a YAML document, whose reading costs far more memory
	MaxYAMLKeys   = 256      // keys of one block mapping in YAML
	MaxNodes      = 10_000   // nodes of a flow
	MaxEdges      = 50_000   // edges of a flow
	MaxDepth      = 64       // objects and lists within each other, the document included
	MaxParameters = 64 << 10 // bytes of one node's parameters, as canonical JSON
	MaxName       = 256      // bytes of a flow's name
	MaxHandle     = 128      // bytes of a handle
	MaxType       = 64       // bytes of a node type
	MaxExpr       = 4 << 10  // bytes of one "when" expression
	MaxValues     = 2 << 20  // values of a document once YAML aliases are expanded
	MaxFaults     = 100      // faults listed; the rest is counted
)

// Bounds of durations and counts.
const (
	MaxTimeout      = 24 * time.Hour // of a node's attempt
	MaxCycleTimeout = 366 * 24 * time.Hour
	MaxBackoff      = 24 * time.Hour
	MaxRetries      = 100
)

// Defaults of what a document leaves out.
const (
	DefaultTimeout    = 30 * time.Second
	DefaultMaxRetries = 3
	DefaultBackoff    = time.Second
	DefaultMaxBackoff = 30 * time.Second
	DefaultInterval   = 60 * time.Second // of schedule_type periodic without an interval
)
