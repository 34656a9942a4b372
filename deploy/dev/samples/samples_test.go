package samples_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/deploy/dev/samples"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/worker/builtin"
	"github.com/tradingflow/weather-station/worker/node"
)

// document is as much of a flow document as running its nodes by hand takes.
type document struct {
	FlowID string `json:"flow_id"`
	Nodes  []struct {
		ID, Type   string
		Join       string
		Parameters map[string]any
		Retry      struct {
			MaxRetries int `json:"max_retries"`
		}
	}
	Edges []struct {
		Source       string
		SourceHandle string `json:"source_handle"`
		Target       string
		TargetHandle string `json:"target_handle"`
	}
}

func load(t testing.TB, name string) *document {
	t.Helper()
	text, err := yaml.YAMLToJSON(samples.Flows()[name])
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return &doc
}

func (d *document) set(node, parameter string, v any) {
	for i := range d.Nodes {
		if d.Nodes[i].ID == node {
			d.Nodes[i].Parameters[parameter] = v
		}
	}
}

// cycle runs the nodes of one cycle in the document's order, which is
// topological in the samples, and returns what became of each: its outputs, or
// nil if it was skipped or stopped.
func (d *document) cycle(ctx context.Context, reg *node.Registry, n int64) (map[string]map[string]json.RawMessage, error) {
	done := map[string]map[string]json.RawMessage{}
	for _, spec := range d.Nodes {
		in := &node.Input{Flow: ids.FlowID(d.FlowID), Cycle: n, Node: ids.NodeID(spec.ID), Type: spec.Type,
			Slot:     time.Unix(n, 0).UTC(),
			IntentID: uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%s|%d|%s", d.FlowID, n, spec.ID))}
		parameters, err := json.Marshal(spec.Parameters)
		if err != nil {
			return nil, err
		}
		in.Parameters = parameters
		alive, ok := d.gather(spec.ID, done, in)
		if dead := !ok && spec.Join != "one_success" || alive == 0 && !ok; dead {
			done[spec.ID] = nil
			continue
		}
		var res node.Result
		for in.Attempt = 1; in.Attempt <= 1+spec.Retry.MaxRetries; in.Attempt++ {
			if res, err = reg.Lookup(spec.Type).Run(ctx, in); err == nil || node.IsPermanent(err) {
				break
			}
		}
		if err != nil {
			return nil, fmt.Errorf("cycle %d, node %s: %w", n, spec.ID, err)
		}
		done[spec.ID] = nil
		if !res.Stop {
			done[spec.ID] = map[string]json.RawMessage{}
			for _, e := range d.Edges { // an edge that names an input is given that input
				if v, ok := in.Values[e.SourceHandle]; ok && e.Source == spec.ID {
					done[spec.ID][e.SourceHandle] = v
				}
			}
			for h, v := range res.Outputs {
				if done[spec.ID][h], err = json.Marshal(v); err != nil {
					return nil, err
				}
			}
		}
	}
	return done, nil
}

// gather fills in the values that edges bring, and reports how many edges are
// alive and whether all are.
func (d *document) gather(target string, done map[string]map[string]json.RawMessage, in *node.Input) (int, bool) {
	lists := map[string][]json.RawMessage{}
	alive, all := 0, true
	for _, e := range d.Edges {
		if e.Target != target {
			continue
		}
		outputs := done[e.Source]
		v, ok := outputs[e.SourceHandle]
		if e.SourceHandle == "" && outputs != nil {
			v, _ = json.Marshal(outputs)
			ok = true
		}
		if !ok {
			all = false
			continue
		}
		alive++
		handle := e.TargetHandle
		if handle == "" {
			handle = "default"
		}
		lists[handle] = append(lists[handle], v)
	}
	in.Values = map[string]json.RawMessage{}
	for handle, vs := range lists {
		in.Values[handle] = vs[0]
		if len(vs) > 1 {
			in.Values[handle], _ = json.Marshal(vs)
		}
	}
	return alive, all
}

type order struct {
	Side  string  `json:"side"`
	Price float64 `json:"price"`
	Date  string  `json:"date"`
	Fast  float64 `json:"fast"`
	Slow  float64 `json:"slow"`
	Cycle int64   `json:"cycle"`
}

// crossings computes the orders from the closing prices alone.
func crossings(dates []string, closes []float64, fast, slow int) []order {
	mean := func(end, n int) float64 {
		total := 0.0
		for _, c := range closes[end-n : end] {
			total += c
		}
		return total / float64(n)
	}
	var out []order
	for i := slow; i < len(closes); i++ {
		above := mean(i+1, fast) - mean(i+1, slow)
		was := mean(i, fast) - mean(i, slow)
		side := ""
		switch {
		case above > 0 && was <= 0:
			side = "buy"
		case above < 0 && was >= 0:
			side = "sell"
		default:
			continue
		}
		out = append(out, order{side, closes[i], dates[i], mean(i+1, fast), mean(i+1, slow), int64(i + 1)})
	}
	return out
}

func walk(rows int, seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 1))
	text := strings.Builder{}
	text.WriteString("date,Open,High,Low,Close,Volume\n")
	price := 100.0
	for i := range rows {
		price = max(1, price+float64(r.IntN(9)-4)/2) // halves, so that averages tie now and then
		fmt.Fprintf(&text, "%s,1,2,3,%v,4\n", time.Unix(0, 0).UTC().AddDate(0, 0, i).Format(time.DateOnly), price)
	}
	return text.String()
}

func TestMomentumPlacesTheOrdersOfItsCrossings(t *testing.T) {
	btc, err := fs.ReadFile(samples.Data(), "btcusd-monthly.csv")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path, data string
		fast, slow       int
	}{
		{"the sample", "btcusd-monthly.csv", string(btc), 3, 8},
		{"other windows", "btcusd-monthly.csv", string(btc), 5, 21},
		{"random walk 1", "walk.csv", walk(600, 1), 3, 8},
		{"random walk 2", "walk.csv", walk(600, 2), 2, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, c.path), []byte(c.data), 0o644); err != nil {
				t.Fatal(err)
			}
			doc := load(t, "btc-momentum")
			doc.set("bars", "path", c.path)
			if c.slow != 8 {
				doc.set("averages", "params", map[string]any{"fast": c.fast, "slow": c.slow})
			}
			records, err := csv.NewReader(strings.NewReader(c.data)).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			var dates []string
			var closes []float64
			for _, rec := range records[1:] {
				f, err := strconv.ParseFloat(rec[4], 64)
				if err != nil {
					t.Fatal(err)
				}
				dates, closes = append(dates, rec[0]), append(closes, f)
			}
			reg := node.NewRegistry()
			builtin.Register(reg, builtin.Config{DataDir: dir})
			for n := int64(1); n <= int64(len(closes)); n++ {
				done, err := doc.cycle(t.Context(), reg, n)
				if err != nil {
					t.Fatal(err)
				}
				if done["crossed"] == nil {
					t.Fatalf("cycle %d did not reach its condition", n)
				}
			}
			after, err := doc.cycle(t.Context(), reg, int64(len(closes))+1)
			if err != nil || after["bars"] != nil || after["crossed"] != nil {
				t.Errorf("after the last bar: %v, %v", after, err)
			}
			raw, err := os.ReadFile(filepath.Join(dir, "orders.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			var got []order
			for line := range bytes.Lines(raw) {
				var o order
				if err := json.Unmarshal(line, &o); err != nil {
					t.Fatal(err)
				}
				got = append(got, o)
			}
			want := crossings(dates, closes, c.fast, c.slow)
			if len(want) < 4 {
				t.Fatalf("the series has only %d crossings: it shows nothing", len(want))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			t.Logf("%d orders over %d bars", len(got), len(closes))
		})
	}
}

func TestTooSmallAWindowIsAnErrorNotSilence(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, samples.Data()); err != nil {
		t.Fatal(err)
	}
	doc := load(t, "btc-momentum")
	doc.set("bars", "window", 8)
	reg := node.NewRegistry()
	builtin.Register(reg, builtin.Config{DataDir: dir})
	if _, err := doc.cycle(t.Context(), reg, 8); err != nil {
		t.Fatal(err)
	}
	if _, err := doc.cycle(t.Context(), reg, 9); err == nil || !strings.Contains(err.Error(), "needs 9 numbers") {
		t.Fatalf("got %v", err)
	}
}

func TestHeartbeat(t *testing.T) {
	doc := load(t, "heartbeat")
	doc.set("slow", "duration", "1ms")
	reg := node.NewRegistry()
	builtin.Register(reg, builtin.Config{})
	for n := int64(1); n <= 4; n++ {
		done, err := doc.cycle(t.Context(), reg, n)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(done["total"]["total"]), strconv.FormatFloat(float64(n)*3.5, 'g', -1, 64); got != want {
			t.Errorf("cycle %d: total is %s, want %s", n, got, want)
		}
		if done["recovered"] == nil || done["either"] == nil {
			t.Errorf("cycle %d: recovered %v, either %v", n, done["recovered"], done["either"])
		}
		if even := n%2 == 0; (done["on_even"] != nil) != even || (done["on_odd"] != nil) == even {
			t.Errorf("cycle %d: the wrong branch ran", n)
		}
	}
}

func TestEveryFlowIsNamedByItsFile(t *testing.T) {
	all := samples.Flows()
	if len(all) < 2 {
		t.Fatalf("%d flows", len(all))
	}
	for name := range all {
		if doc := load(t, name); doc.FlowID != name || len(doc.Nodes) == 0 || len(doc.Edges) == 0 {
			t.Errorf("%s: flow %q, %d nodes, %d edges", name, doc.FlowID, len(doc.Nodes), len(doc.Edges))
		}
	}
}
