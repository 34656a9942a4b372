package topology_test

import (
	"os"
	"strings"
	"testing"

	"github.com/tradingflow/weather-station/deploy/dev/topology"
)

// The flow that the README shows runs as it stands there, from the first bar on,
// on both sides of its condition.
func TestTheFlowOfTheReadmeRuns(t *testing.T) {
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	doc, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the README shows no flow")
	}
	doc = strings.Replace(doc, "interval_seconds: 60", "interval_seconds: 0.1", 1)
	dir := t.TempDir()
	if err := topology.CopySampleData(dir); err != nil {
		t.Fatal(err)
	}
	c := start(t, topology.Config{DataDir: dir})
	flows, err := topology.Register(c.ctx, c.client, []topology.Document{{Name: "README", Text: []byte(doc)}})
	if err != nil {
		t.Fatal(err)
	}
	notes := map[string]bool{}
	for n := int64(1); n <= 20; n++ {
		if s := c.await(t, flows[0], n); s.Status != "completed" {
			t.Errorf("cycle %d: %s, %s", n, s.Status, s.Error)
		}
		node, err := c.client.Node(c.ctx, flows[0], n, "note")
		if err != nil {
			t.Fatal(err)
		}
		notes[node.Status] = true
	}
	if !notes["skipped"] || !notes["succeeded"] {
		t.Errorf("the note was only ever %v", notes)
	}
}
