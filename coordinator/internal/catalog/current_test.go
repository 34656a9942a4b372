package catalog

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tradingflow/weather-station/shared/ids"
)

// TestCurrent compares memory with etcd: flows and pauses that memory has as they are,
// does not have yet, or still has.
func TestCurrent(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	ctx := background(t)
	writer := open(t, c, p)
	var names []ids.FlowID
	for i := range 2*atOnce + 1 {
		names = append(names, ids.FlowID(fmt.Sprintf("f%03d", i)))
		if _, _, err := writer.Put(ctx, names[i], want("{}")); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range names[10:14] {
		if _, err := writer.Pause(ctx, f); err != nil {
			t.Fatal(err)
		}
	}
	reader := open(t, c, p) // loads, and does not follow
	if err := reader.admit(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.load(ctx); err != nil {
		t.Fatal(err)
	}
	check := func(what string, not ...ids.FlowID) {
		t.Helper()
		expect := map[ids.FlowID]bool{}
		for _, f := range names {
			expect[f] = true
		}
		for _, f := range not {
			expect[f] = false
		}
		got, err := reader.Current(ctx, names)
		if diff := cmp.Diff(expect, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
	}
	names = append(names, "nowhere")
	check("as loaded")
	if _, _, err := writer.Put(ctx, "nowhere", want("{}")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := writer.Put(ctx, names[0], want(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	for _, f := range []ids.FlowID{names[1], names[10]} {
		if _, err := writer.Delete(ctx, f); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := writer.Resume(ctx, names[11]); err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Pause(ctx, names[2]); err != nil {
		t.Fatal(err)
	}
	check("after changes elsewhere", "nowhere", names[0], names[1], names[2], names[10], names[11])

	away, err := New(Config{Client: dial(t, "127.0.0.1:1"), Prefix: p, Now: func() time.Time { return time.UnixMilli(0) }})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := away.Current(ctx, names[:1]); err == nil {
		t.Errorf("without etcd: %v", got)
	}
}
