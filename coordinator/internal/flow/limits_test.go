package flow

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// bigDocument writes an execute body in which node i feeds the nodes after it.
func bigDocument(nodes, edges int) []byte {
	var b strings.Builder
	b.WriteString(`{"flow_id":"big","cycle_interval":"1m","flow_json":{"nodes":[`)
	for i := range nodes {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"n%d","type":"transform","config":{"node_class_type":"transform","expression":"value"}}`, i)
	}
	b.WriteString(`],"edges":[`)
	for i := range edges {
		if i > 0 {
			b.WriteByte(',')
		}
		from := i % (nodes - 1)
		step := 1 + i/(nodes-1)
		fmt.Fprintf(&b, `{"source":"n%d","source_handle":"output_data","target":"n%d","target_handle":"input_%d"}`, from, min(from+step, nodes-1), step)
	}
	b.WriteString(`]}}`)
	return []byte(b.String())
}

func withNode(fields string) []byte {
	return []byte(`{"flow_id":"f","interval":"1m","nodes":[{"id":"a","type":"log"` + fields + `}]}`)
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func TestLimits(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	edge := func(fields string) []byte {
		return []byte(`{"flow_id":"f","interval":"1m","nodes":[{"id":"a","type":"log"},{"id":"b","type":"log"}],"edges":[{"source":"a","target":"b"` + fields + `}]}`)
	}
	params := func(n int) []byte { return withNode(`,"parameters":{"x":"` + x(n-len(`{"x":""}`)) + `"}`) }
	yaml := func(n int) []byte {
		const head = "flow_id: f\ninterval: 1m\nnodes: [{id: a, type: log}]\n#"
		return []byte(head + x(n-len(head)))
	}
	keys := func(n int) []byte {
		body := "flow_id: f\ninterval: 1m\nnodes:\n- id: a\n  type: log\n"
		for i := range n - 3 {
			body += fmt.Sprintf("x%d: [1]\n", i)
		}
		return []byte(body)
	}
	tests := []struct {
		name      string
		good, bad []byte
		want      string
	}{
		{"body", withNode(`}],"pad":["` + x(MaxBody-300) + `",{"x":"y"`), withNode(`,"pad":"` + x(MaxBody)), "too_large||at most 8388608"},
		{"YAML body", yaml(MaxYAML), yaml(MaxYAML + 1), "too_large||at most 2097152"},
		{"keys of a YAML mapping", keys(MaxYAMLKeys), keys(MaxYAMLKeys + 1), "too_large|line 259|more than 256 keys"},
		{"nodes", bigDocument(MaxNodes, 1), bigDocument(MaxNodes+1, 1), "too_large|flow_json.nodes|10001 items; at most 10000"},
		{"edges", bigDocument(MaxNodes, MaxEdges-10), bigDocument(MaxNodes, MaxEdges+1), "too_large|flow_json.edges|50001 items; at most 50000"},
		{"depth", withNode(`,"pad":` + nested(MaxDepth-3)), withNode(`,"pad":` + nested(MaxDepth-2)), "too_large|line 1|more than 64 deep"},
		{"parameters", params(MaxParameters), params(MaxParameters + 1), "too_large|nodes[0].parameters|65537 bytes; at most 65536"},
		{"name", withNode(`}],"name":"` + x(MaxName) + `","pad":[{"x":0`), withNode(`}],"name":"` + x(MaxName+1) + `","pad":[{"x":0`), "too_large|name|257 bytes; at most 256"},
		{"handle", edge(`,"source_handle":"` + x(MaxHandle) + `"`), edge(`,"source_handle":"` + x(MaxHandle+1) + `"`), "bad_field|edges[0].source_handle|129 bytes; at most 128"},
		{"expression", edge(`,"when":"` + x(MaxExpr) + `"`), edge(`,"when":"` + x(MaxExpr+1) + `"`), "too_large|edges[0].when|4097 bytes"},
		{"type", withNode(`}],"pad":[{"type":"` + x(MaxType) + `"`), []byte(`{"flow_id":"f","interval":"1m","nodes":[{"id":"a","type":"` + x(MaxType+1) + `"}]}`), "bad_field|nodes[0].type|65 bytes; at most 64"},
		{"retries", withNode(`,"retry":{"max_retries":100}`), withNode(`,"retry":{"max_retries":101}`), "bad_field|nodes[0].retry.max_retries|0 to 100"},
		{"timeout", withNode(`,"timeout":"24h"`), withNode(`,"timeout":"24h1ms"`), "bad_field|nodes[0].timeout|1ms to 1d"},
		{"no timeout", withNode(`,"timeout":"1ms"`), withNode(`,"timeout":"0s"`), "bad_field|nodes[0].timeout|1ms to 1d"},
		{"timeout without a unit", withNode(`,"timeout":"10s"`), withNode(`,"timeout":10`), "bad_field|nodes[0].timeout|10 has no unit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mustParse(t, tt.good, Options{})
			checkFaults(t, faultsOf(t, tt.bad, Options{}), []string{tt.want})
		})
	}
	t.Run("canonical form", func(t *testing.T) {
		// Aliases make a small document large.
		body := "flow_id: f\ninterval: 1m\nnodes: [{id: a, type: log}]\nx: &x " + x(1<<20) + "\ny: [" + strings.Repeat("*x, ", 8) + "*x]\n"
		checkFaults(t, faultsOf(t, []byte(body), Options{}), []string{"too_large||canonical form"})
	})
}

func TestLargestFlowFits(t *testing.T) {
	body := bigDocument(MaxNodes, MaxEdges-10)
	f := mustParse(t, body, Options{})
	t.Logf("as sent %d bytes, canonical %d bytes", len(body), len(f.Canonical()))
	mustParse(t, f.Canonical(), Options{})
	if p := f.Compile(uuid.Nil, 1); len(p.Nodes) != MaxNodes || p.Nodes[MaxNodes-1].Level != MaxNodes {
		t.Errorf("%d nodes, level %d", len(p.Nodes), p.Nodes[len(p.Nodes)-1].Level)
	}
}

func TestFaultsAreCapped(t *testing.T) {
	body := []byte(`{"flow_id":"f","interval":"1m","nodes":[` + strings.Repeat(`{},`, 150) + `{}]}`)
	faults := faultsOf(t, body, Options{})
	if len(faults) != MaxFaults+1 {
		t.Fatalf("%d faults", len(faults))
	}
	last := faults[MaxFaults]
	// Each of the 151 nodes lacks its id and its type.
	if want := (Fault{Code: CodeMoreFaults, Message: "and 202 more"}); last != want {
		t.Errorf("last fault %+v, want %+v", last, want)
	}
	var bad *Invalid
	if _, err := Parse(body, Options{}); !errors.As(err, &bad) || !strings.Contains(err.Error(), "and 202 more") {
		t.Errorf("the error text does not say how many are left out")
	}
}

// Rings and components without an entry are many at once; the search and the
// messages stay bounded.
func TestManyRings(t *testing.T) {
	var nodes, edges []string
	for i := 0; i < MaxNodes; i += 2 {
		nodes = append(nodes, fmt.Sprintf(`{"id":"n%d","type":"log"},{"id":"n%d","type":"log"}`, i, i+1))
		edges = append(edges, fmt.Sprintf(`{"source":"n%d","target":"n%d"},{"source":"n%d","target":"n%d"}`, i, i+1, i+1, i))
	}
	body := []byte(`{"flow_id":"f","interval":"1m","nodes":[` + strings.Join(nodes, ",") + `],"edges":[` + strings.Join(edges, ",") + `]}`)
	faults := faultsOf(t, body, Options{})
	if got, want := faults[1].Message, "nodes wait for each other in a ring: n2 -> n3 -> n2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := faults[MaxFaults].Message; got != "and 9900 more" {
		t.Errorf("last fault %q", got)
	}
}

func TestLongRingIsShortened(t *testing.T) {
	var nodes, edges []string
	for i := range 5000 {
		nodes = append(nodes, fmt.Sprintf(`{"id":"n%d","type":"log"}`, i))
		edges = append(edges, fmt.Sprintf(`{"source":"n%d","target":"n%d"}`, i, (i+1)%5000))
	}
	faults := faultsOf(t, []byte(`{"flow_id":"f","interval":"1m","nodes":[`+strings.Join(nodes, ",")+`],"edges":[`+strings.Join(edges, ",")+`]}`), Options{})
	if m := faults[0].Message; !strings.HasSuffix(m, "n18 -> … 4980 more … -> n4999 -> n0") || len(m) > 400 {
		t.Errorf("message %q", m)
	}
}

func BenchmarkParse(b *testing.B) {
	body := bigDocument(MaxNodes, MaxEdges-10)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := Parse(body, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	f := mustParse(b, bigDocument(MaxNodes, MaxEdges-10), Options{})
	b.ReportAllocs()
	for b.Loop() {
		f.Compile(uuid.Nil, 1)
	}
}

func BenchmarkParseYAML(b *testing.B) {
	body := []byte("flow_id: f\ninterval: 1m\nnodes:\n")
	for i := range 1000 {
		body = fmt.Appendf(body, "- id: n%d\n  type: log\n  parameters: {text: x}\n", i)
	}
	body = append(body, "edges:\n"...)
	for i := range 5000 {
		body = fmt.Appendf(body, "- {source: n%d, target: n%d, target_handle: h%d}\n", i%500, 500+(i*7)%500, i)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := Parse(body, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
