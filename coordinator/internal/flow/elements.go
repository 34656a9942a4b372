package flow

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
)

// graph reads nodes and edges and checks how they hang together.
func (r *reader) graph(f *Flow, l located) {
	if r.graphless {
		return
	}
	nodes := r.list(l.nodes, l.prefix+"nodes", MaxNodes)
	edges := r.list(l.edges, l.prefix+"edges", MaxEdges)
	switch {
	case l.nodes == nil:
		r.faults.add(CodeNoNodes, l.prefix+"nodes", "nodes is missing; a flow needs at least one node")
		return
	case l.nodes.kind == list && len(l.nodes.kids) == 0:
		r.faults.add(CodeNoNodes, l.prefix+"nodes", "nodes is empty; a flow needs at least one node")
		return
	case nodes == nil:
		return
	}
	index := make(map[string]int32, len(nodes))
	f.Nodes = make([]Node, len(nodes))
	names := make([]string, len(nodes))
	for i := range nodes {
		p := place{path: l.prefix + "nodes", index: i}
		names[i] = r.node(&f.Nodes[i], nodes[i].val, p)
		if names[i] == "" {
			continue
		}
		if first, ok := index[names[i]]; ok {
			r.faults.add(CodeDuplicateNodeID, p.field("id"), "the node id %q is taken by %s", clip(names[i]), place{path: l.prefix + "nodes", index: int(first)})
			continue
		}
		index[names[i]] = int32(i)
	}
	f.Edges = make([]Edge, len(edges))
	arcs := make([]arc, 0, len(edges))
	places := make([]int, 0, len(edges)) // of each arc
	seen := make(map[edgeKey]int, len(edges))
	for i := range edges {
		p := place{path: l.prefix + "edges", index: i}
		a, ok := r.edge(&f.Edges[i], edges[i].val, p, index, f.Nodes)
		if !ok {
			continue
		}
		key := edgeKey{a, f.Edges[i].SourceHandle, f.Edges[i].TargetHandle}
		if first, ok := seen[key]; ok {
			r.faults.add(CodeDuplicateEdge, p.String(), "is the same as %s: same nodes, same handles", place{path: p.path, index: first})
			continue
		}
		seen[key] = i
		arcs = append(arcs, a)
		places = append(places, i)
	}
	f.graph = newGraph(len(nodes), arcs)
	r.checkRings(&f.graph, names, places, l.prefix)
}

type edgeKey struct {
	arc
	sourceHandle, targetHandle string
}

// list returns the items of a list, or nil with a fault when it is none or too
// long.
func (r *reader) list(v *value, path string, most int) []member {
	switch {
	case v == nil:
		return nil
	case v.kind != list:
		r.faults.add(CodeBadShape, path, "%s is %s; a list is expected", path, v.kind)
		return nil
	case len(v.kids) > most:
		r.faults.add(CodeTooLarge, path, "%s has %d items; at most %d are allowed", path, len(v.kids), most)
		return nil
	}
	return v.kids
}

// node reads a node and returns the id it goes by, also when that id breaks
// the rules, so that edges to it are not reported as well.
func (r *reader) node(n *Node, v value, p place) string {
	if v.kind != object {
		r.faults.add(CodeBadNode, p.String(), "is %s; an object is expected", v.kind)
		return ""
	}
	f := r.fieldsOf(v, p)
	id := r.nodeID(f)
	n.ID = ids.NodeID(id)
	n.Type = r.nodeType(f, id)
	n.Parameters = json.RawMessage(r.parameters(f, n.Type))
	n.Pool = f.text(plan.DefaultPool, "pool")
	if err := ids.CheckPool(n.Pool); err != nil {
		f.fault(CodeBadField, "pool", "%s", err)
	} else if n.Type != "" && r.opts.KnownType != nil && !r.opts.KnownType(n.Type, n.Pool) {
		f.fault(CodeUnknownNodeType, "type", "node %q has the type %q, which no worker of pool %q runs", clip(id), clip(n.Type), n.Pool)
	}
	n.Timeout = f.duration("timeout", DefaultTimeout, time.Millisecond, MaxTimeout)
	n.Retry = r.retry(f)
	n.Delivery = f.choice("delivery", plan.AtLeastOnce, plan.AtLeastOnce, plan.AtMostOnce)
	n.Join = f.choice("join", plan.AllSuccess, plan.AllSuccess, plan.AllDone, plan.OneSuccess, plan.NoneFailed)
	n.Aggregate = f.choice("aggregate", plan.AggregateList, plan.AggregateList, plan.AggregateMerge)
	n.extra = f.rest()
	return id
}

func (r *reader) nodeID(f *fields) string {
	v, _ := f.take("id")
	if v == nil {
		f.faults.add(CodeBadNode, f.place.String(), `%s has no "id"`, f.place)
		return ""
	}
	if v.kind != text {
		f.fault(CodeBadID, "id", "node id is %s; a string is expected", v.kind)
		return ""
	}
	if _, err := ids.ParseNodeID(v.str); err != nil {
		f.fault(CodeBadID, "id", "%s", err)
	}
	return v.str
}

func (r *reader) nodeType(f *fields, id string) string {
	v, _ := f.take("type")
	who := "the node"
	if id != "" {
		who = "node \"" + clip(id) + "\""
	}
	if v == nil || v.kind == text && v.str == "" {
		f.faults.add(CodeBadNode, f.place.String(), `%s has no "type"`, who)
		return ""
	}
	switch {
	case v.kind != text:
		f.fault(CodeBadField, "type", "is %s; a string is expected", v.kind)
		return ""
	case len(v.str) > MaxType:
		f.fault(CodeBadField, "type", "%q has %d bytes; at most %d are allowed", clip(v.str), len(v.str), MaxType)
		return ""
	case strings.Trim(v.str, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") != "":
		f.fault(CodeBadField, "type", "%q contains other characters than A-Z a-z 0-9 _ . -", clip(v.str))
		return ""
	}
	return v.str
}

func defaultRetry() plan.Retry {
	return plan.Retry{Enabled: true, MaxRetries: DefaultMaxRetries, Backoff: DefaultBackoff, MaxBackoff: DefaultMaxBackoff, Jitter: true}
}

func (r *reader) retry(node *fields) plan.Retry {
	v, _ := node.take("retry")
	if v == nil {
		return defaultRetry()
	}
	if v.kind != object {
		node.fault(CodeBadShape, "retry", "is %s; an object is expected", v.kind)
		return defaultRetry()
	}
	f := r.fieldsOf(*v, place{path: node.place.field("retry"), index: -1})
	out := plan.Retry{
		Enabled:    f.boolean("enabled", true),
		MaxRetries: f.count("max_retries", DefaultMaxRetries, MaxRetries),
		Backoff:    f.duration("backoff", DefaultBackoff, 0, MaxBackoff),
		Jitter:     f.boolean("jitter", true),
	}
	// A long first pause without a cap is no contradiction: it is the cap.
	out.MaxBackoff = f.duration("max_backoff", max(DefaultMaxBackoff, out.Backoff), 0, MaxBackoff)
	if out.MaxBackoff < out.Backoff {
		f.fault(CodeBadField, "max_backoff", "%s is shorter than backoff, %s", formatDuration(out.MaxBackoff), formatDuration(out.Backoff))
	}
	for _, m := range f.rest() {
		f.fault(CodeBadField, clip(m.key), "is not known; allowed are enabled, max_retries, backoff, max_backoff, jitter")
	}
	return out
}

// edge reads an edge. It returns the arc and whether both ends are there.
func (r *reader) edge(e *Edge, v value, p place, index map[string]int32, nodes []Node) (arc, bool) {
	if v.kind != object {
		r.faults.add(CodeBadShape, p.String(), "is %s; an object is expected", v.kind)
		return arc{}, false
	}
	f := r.fieldsOf(v, p)
	from, okFrom := r.end(f, "source", index)
	to, okTo := r.end(f, "target", index)
	if okFrom {
		e.Source = nodes[from].ID
	}
	if okTo {
		e.Target = nodes[to].ID
	}
	e.SourceHandle = r.handle(f, "source_handle", "sourceHandle")
	e.TargetHandle = r.handle(f, "target_handle", "targetHandle")
	e.When = f.text("", "when")
	switch {
	case len(e.When) > MaxExpr:
		f.fault(CodeTooLarge, "when", "has %d bytes; at most %d are allowed", len(e.When), MaxExpr)
	case e.When != "" && r.opts.CheckExpr != nil:
		if err := r.opts.CheckExpr(e.When); err != nil {
			f.fault(CodeBadExpression, "when", "%q does not compile: %s", clip(e.When), err)
		}
	}
	e.extra = f.rest()
	return arc{from, to}, okFrom && okTo
}

// end reads one end of an edge.
func (r *reader) end(f *fields, name string, index map[string]int32) (int32, bool) {
	v, _ := f.take(name)
	switch {
	case v == nil:
		f.fault(CodeMissingField, name, "the edge has no %s", name)
		return 0, false
	case v.kind != text:
		f.fault(CodeBadField, name, "is %s; the id of a node is expected", v.kind)
		return 0, false
	}
	i, ok := index[v.str]
	if !ok {
		f.fault(CodeUnknownNode, name, "the edge's %s %q is not a node of this flow", name, clip(v.str))
	}
	return i, ok
}

// handle reads a handle in either spelling; an empty one is the default.
func (r *reader) handle(f *fields, snake, camel string) string {
	s := f.text(plan.DefaultHandle, snake, camel)
	switch {
	case s == "":
		return plan.DefaultHandle
	case len(s) > MaxHandle:
		f.fault(CodeBadField, snake, "%q has %d bytes; at most %d are allowed", clip(s), len(s), MaxHandle)
	case hasControl(s):
		f.fault(CodeBadField, snake, "%q contains a control character", clip(s))
	}
	return s
}
