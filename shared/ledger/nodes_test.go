package ledger

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tradingflow/weather-station/shared/plan"
)

// A node is decoded once, and a handler that writes into its parameters changes
// nobody else's.
func TestANodeIsDecodedOnce(t *testing.T) {
	want := plan.Node{ID: "a", Type: "log", Parameters: json.RawMessage(`{"x":1}`), Successors: []plan.Successor{{Target: "b", InDegree: 2}}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var d decoded
	for range 3 {
		n, err := d.decode(string(text))
		if err != nil || !cmp.Equal(want, n) {
			t.Fatalf("%v: %s", err, cmp.Diff(want, n))
		}
		n.Parameters[0] = '!'
	}
	if len(d.nodes) != 1 || d.bytes != len(text) {
		t.Errorf("%d nodes of %d bytes are kept", len(d.nodes), d.bytes)
	}
	if _, err := d.decode("{"); err == nil || len(d.nodes) != 1 {
		t.Errorf("what is no node: %v", err)
	}
	large := `{"id":"` + strings.Repeat("x", mostDecoded) + `"}`
	if n, err := d.decode(large); err != nil || len(n.ID) != mostDecoded || len(d.nodes) != 1 || d.bytes != len(large) {
		t.Errorf("beyond the bound %d nodes of %d bytes are kept: %v", len(d.nodes), d.bytes, err)
	}
	if n, err := d.decode(string(text)); err != nil || !cmp.Equal(want, n) || len(d.nodes) != 1 {
		t.Errorf("after all were forgotten: %v, %v", n, err)
	}
}

func BenchmarkDecodedNode(b *testing.B) {
	text, err := json.Marshal(plan.Node{ID: "a", Type: "log", Pool: "default", Parameters: json.RawMessage(`{"level":"debug"}`),
		Inputs: []plan.Input{{Source: "b", SourceHandle: "data", TargetHandle: "data"}}, Successors: []plan.Successor{{Target: "c", InDegree: 1, Plain: true, Edges: []plan.Edge{{SourceHandle: "data"}}}}})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("kept", func(b *testing.B) {
		b.ReportAllocs()
		var d decoded
		for b.Loop() {
			if _, err := d.decode(string(text)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("anew", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var d decoded
			if _, err := d.decode(string(text)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
