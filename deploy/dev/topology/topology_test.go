package topology_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tradingflow/weather-station/deploy/dev/topology"
)

const momentum = "btc-momentum"

func TestSamplesRunAndSurviveTheirLeader(t *testing.T) {
	dir := t.TempDir()
	if err := topology.CopySampleData(dir); err != nil {
		t.Fatal(err)
	}
	c := start(t, topology.Config{DataDir: dir})
	flows, err := topology.Register(c.ctx, c.client, topology.Samples())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range flows {
		if s := c.await(t, f, 1); s.Status != "completed" || s.Trigger != "slot" {
			t.Errorf("cycle 1 of %s: %s by %s, %s", f, s.Status, s.Trigger, s.Error)
		}
	}
	before, epoch := c.leader(t)
	if err := c.Stop(c.ctx, before); err != nil {
		t.Fatal(err)
	}
	if err := c.Await(c.ctx, c.client); err != nil {
		t.Fatal(err)
	}
	after, next := c.leader(t)
	if after == before || next <= epoch {
		t.Errorf("leader %s of epoch %d followed %s of epoch %d", after, next, before, epoch)
	}
	flow, err := c.client.Flow(c.ctx, momentum)
	if err != nil {
		t.Fatal(err)
	}
	for n := int64(1); n <= flow.LatestCycle+2; n++ { // two that the new leader began, and none left out
		if s := c.await(t, momentum, n); s.Status != "completed" {
			t.Errorf("cycle %d: %s, %s", n, s.Status, s.Error)
		}
	}
}

func TestWorkAfterAWorkerLeft(t *testing.T) {
	c := start(t, topology.Config{Coordinators: 1})
	if err := c.Stop(c.ctx, "worker-1"); err != nil {
		t.Fatal(err)
	}
	if err := c.Await(c.ctx, c.client); err != nil {
		t.Fatal(err)
	}
	doc := topology.Document{Name: "one", Text: []byte("flow_id: one\nschedule_type: manual\nnodes: [{id: a, type: log, parameters: {message: hello}}]\nedges: []\n")}
	if _, err := topology.Register(c.ctx, c.client, []topology.Document{doc}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.StartCycle(c.ctx, "one", ""); err != nil {
		t.Fatal(err)
	}
	c.await(t, "one", 1)
	if node, err := c.client.Node(c.ctx, "one", 1, "a"); err != nil || node.Worker != "worker-2" {
		t.Errorf("node ran on %q, %v", node.Worker, err)
	}
	if err := c.Stop(c.ctx, "worker-9"); err == nil {
		t.Error("a part that is not there was stopped")
	}
}

// order is what the momentum sample writes; the intent id is left out.
type order struct {
	Side  string  `json:"side"`
	Price float64 `json:"price"`
	Date  string  `json:"date"`
	Cycle int64   `json:"cycle"`
}

// crossings computes the orders of the first n bars from the prices alone: the
// side changes when the sign of the difference of the averages does.
func crossings(t *testing.T, dir string, n int64) []order {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "btcusd-monthly.csv"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(f).ReadAll()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	const fast, slow = 3, 8
	var closes []float64
	var out []order
	lead := func(end int) float64 { // 24 × (fast average − slow average)
		d := 0.0
		for i := end - slow; i < end; i++ {
			d -= closes[i] * fast
			if i >= end-fast {
				d += closes[i] * slow
			}
		}
		return d
	}
	for i, row := range rows[1 : n+1] {
		price, err := strconv.ParseFloat(row[4], 64)
		if err != nil {
			t.Fatal(err)
		}
		closes = append(closes, price)
		if i < slow {
			continue
		}
		switch now, was := lead(i+1), lead(i); {
		case now > 0 && was <= 0:
			out = append(out, order{"buy", price, row[0], int64(i + 1)})
		case now < 0 && was >= 0:
			out = append(out, order{"sell", price, row[0], int64(i + 1)})
		}
	}
	return out
}

func TestOrdersEqualAnIndependentComputation(t *testing.T) {
	const cycles = 80
	dir := t.TempDir()
	if err := topology.CopySampleData(dir); err != nil {
		t.Fatal(err)
	}
	c := start(t, topology.Config{DataDir: dir})
	var docs []topology.Document
	for _, d := range topology.Samples() {
		if d.Name == momentum+".yaml" { // the same flow, as fast as it goes
			d.Text = bytes.Replace(d.Text, []byte("schedule_type: periodic\ninterval_seconds: 1\n"), []byte("schedule_type: manual\n"), 1)
			docs = append(docs, d)
		}
	}
	if _, err := topology.Register(c.ctx, c.client, docs); err != nil {
		t.Fatal(err)
	}
	for n := int64(1); n <= cycles; n++ {
		s, err := c.client.StartCycle(c.ctx, momentum, "")
		if err != nil {
			t.Fatal(err)
		}
		if end := c.await(t, momentum, s.Cycle); s.Cycle != n || end.Status != "completed" || end.Completed != end.Total {
			t.Fatalf("cycle %d of %d: %s, %d of %d nodes, %s", s.Cycle, n, end.Status, end.Completed, end.Total, end.Error)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "orders.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var got []order
	for line := range bytes.Lines(text) {
		var o order
		if err := json.Unmarshal(line, &o); err != nil {
			t.Fatal(err)
		}
		got = append(got, o)
	}
	want := crossings(t, dir, cycles)
	if len(want) < 4 {
		t.Fatalf("only %d crossings: that shows nothing", len(want))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFlowsSurviveARestartOnTheSameFolder(t *testing.T) {
	dir := t.TempDir()
	for i := range 2 {
		c := start(t, topology.Config{DataDir: dir, EtcdDir: filepath.Join(dir, ".etcd"), Coordinators: 1, Workers: 1})
		if i == 0 {
			if _, err := topology.Register(c.ctx, c.client, topology.Samples()); err != nil {
				t.Fatal(err)
			}
		}
		flows, err := c.client.Flows(c.ctx)
		if err != nil || len(flows) != len(topology.Samples()) {
			t.Errorf("start %d: %d flows, %v", i+1, len(flows), err)
		}
		c.stop()
	}
}

func TestARefusedFlowTellsAllItsFaultsAndStopsNoOther(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a-bad.yaml":  "flow_id: bad\nschedule_type: manual\nnodes: [{id: x, type: nonsense}, {id: y, type: log}]\nedges: [{source: x, target: nobody}]\n",
		"b-good.json": `{"flow_id":"good","schedule_type":"manual","nodes":[{"id":"a","type":"log"}],"edges":[]}`,
		"c-torn.yml":  "flow_id: [",
		"readme.txt":  "no flow",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	docs, err := topology.LoadFlows(dir)
	if err != nil || len(docs) != 3 {
		t.Fatalf("%d documents, %v", len(docs), err)
	}
	c := start(t, topology.Config{Coordinators: 1, Workers: 1})
	flows, err := topology.Register(c.ctx, c.client, docs)
	if diff := cmp.Diff([]string{"good"}, flows); diff != "" {
		t.Error(diff)
	}
	if err == nil {
		t.Fatal("bad flows were taken")
	}
	for _, want := range []string{"a-bad.yaml:", "nonsense", "nobody", "c-torn.yml:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if _, err := topology.LoadFlows(t.TempDir()); err == nil {
		t.Error("a folder without flows is accepted")
	}
}

func TestOpenRefusesBadSettingsAndGivesAllBack(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  topology.Config
		want []string
	}{
		"counts":    {topology.Config{Coordinators: -1, Workers: 99, Concurrency: 5000, DataDir: t.TempDir()}, []string{"coordinators is -1", "workers is 99", "concurrency is 5000"}},
		"no folder": {topology.Config{DataDir: filepath.Join(t.TempDir(), "none")}, []string{"data folder"}},
		"address":   {topology.Config{DataDir: t.TempDir(), HTTPAddr: "127.0.0.1:http-nothing"}, []string{"listen for coordinator-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := topology.Open(t.Context(), c.cfg)
			if err == nil {
				t.Fatal("was opened")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in: %v", w, err)
				}
			}
		})
	}
}
