package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/shared/ids"
)

// What retention keeps in this test. As many as are kept whole gather before it makes a
// pass; less one, they may be there besides.
const keepWhole, keepAtAll, besides = 3, 10, keepWhole - 1

// TestNothingIsLeftBehind runs a hundred cycles and looks at every key and queue
// afterwards: only what is documented to stay is there, and more cycles add
// nothing.
func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	c := start(t, setup{coordinator: []string{"--keep-detailed", fmt.Sprint(keepWhole), "--keep-cycles", fmt.Sprint(keepAtAll)}})
	docs := []*doc{chain("chain", 0), diamond("diamond", 0), parts("parts", 0), flaky("flaky", 0)}
	c.register(t, docs...)
	c.register(t, chain("ticks", 200*time.Millisecond))
	burst := func(n int) {
		for range n {
			for _, d := range docs {
				c.run(t, d.ID)
			}
		}
		c.settled(t, 60*time.Second)
	}
	burst(25)
	c.still(t, "ticks")
	c.idle(t, 20*time.Second)
	first := c.kept(t, docs)
	burst(6)
	second := c.kept(t, docs)
	room := 0
	for _, d := range docs {
		room += besides * (4 + len(c.flows[ids.FlowID(d.ID)].Inputs))
	}
	if len(second) > len(first)+room {
		t.Errorf("the ledger grows: %d keys, then %d", len(first), len(second))
	}
	c.quietQueues(t)
	out, err := system.Ctl("etcdctl", "get", "--prefix", "--keys-only", c.prefix+"/")
	if err != nil {
		t.Fatal(out, err)
	}
	kinds := map[string]int{}
	for line := range strings.Lines(out) {
		if name := strings.TrimPrefix(strings.TrimSpace(line), c.prefix+"/"); name != "" {
			kind, _, _ := strings.Cut(name, "/")
			kinds[kind]++
		}
	}
	if want := map[string]int{"catalog": 1, "election": 2, "flows": len(docs) + 1, "once-era": 1, "partitions": 1, "pauses": 1}; !maps.Equal(kinds, want) {
		t.Errorf("etcd holds %v, want %v", kinds, want)
	}
	c.judge(t, histcheck.Evidence{Ended: true})
}

// still pauses a flow between two of its cycles.
func (c *cluster) still(t *testing.T, flow string) {
	t.Helper()
	c.until(t, 20*time.Second, "pause between two cycles", func() (bool, string) {
		s, err := c.api.PauseFlow(c.ctx, flow)
		if err == nil && s.ActiveCycles == 0 {
			return true, ""
		}
		_, err2 := c.api.ResumeFlow(c.ctx, flow)
		return false, fmt.Sprint(s.ActiveCycles, err, err2)
	})
}

// kept waits until the ledger has exactly the keys that are to stay, and returns
// them.
func (c *cluster) kept(t *testing.T, docs []*doc) []string {
	t.Helper()
	var keys []string
	c.until(t, 30*time.Second, "tidy ledger", func() (bool, string) {
		want, wrong := c.documented(t, docs)
		if wrong != "" {
			return false, wrong
		}
		all, err := c.ledger.Dump(c.ctx)
		if err != nil {
			return false, err.Error()
		}
		keys = keys[:0]
		var odd []string
		for k, content := range all {
			k = strings.TrimPrefix(k, c.prefix+":")
			switch {
			case k == "outbox" && content == "": // an empty stream stays
			case want[k]:
				keys = append(keys, k)
			default:
				odd = append(odd, k)
			}
		}
		for k := range want {
			if _, there := all[c.prefix+":"+k]; !there {
				odd = append(odd, "missing "+k)
			}
		}
		slices.Sort(odd)
		return len(odd) == 0, fmt.Sprintf("%d odd keys: %v", len(odd), odd[:min(len(odd), 12)])
	})
	return keys
}

// documented lists the keys that an idle ledger has, and tells what retention has not kept
// or archived as it should.
func (c *cluster) documented(t *testing.T, docs []*doc) (out map[string]bool, wrong string) {
	t.Helper()
	out = map[string]bool{"epoch": true, "schema": true, "run": true, "clock_at": true, "catalog": true, "flows": true, "workers": true, "coordinators": true, "once": true, "journal": true}
	for _, w := range c.workers {
		out["worker:"+w.Name] = true
	}
	names := []string{"ticks"}
	for _, d := range docs {
		names = append(names, d.ID)
	}
	for _, f := range names {
		base := "flow:" + f + ":"
		for _, k := range []string{"config", "state", "cycles", "plan:1"} {
			out[base+k] = true
		}
		if f != "ticks" {
			out[base+"triggers"] = true
		}
		s, err := c.ledger.Flow(c.ctx, ids.FlowID(f))
		if err != nil {
			t.Fatal(err)
		}
		numbers, err := c.ledger.CycleNumbers(c.ctx, ids.FlowID(f))
		if err != nil {
			t.Fatal(err)
		}
		if n := int64(len(numbers)); n < min(s.LastCycle, keepAtAll) || n > keepAtAll+besides {
			wrong = fmt.Sprintf("%d of %d cycles of %s are kept", n, s.LastCycle, f)
		}
		for _, n := range numbers {
			cycle := fmt.Sprintf("%scycle:%d:", base, n)
			out[cycle+"status"] = true
			state, err := c.ledger.Cycle(c.ctx, ids.FlowID(f), n)
			if err != nil {
				t.Fatal(err)
			}
			if back := s.LastCycle - n; state.Archived && back < keepWhole || !state.Archived && back >= keepWhole+besides {
				wrong = fmt.Sprintf("cycle %d of %d of %s: archived %t", n, s.LastCycle, f, state.Archived)
			}
			if state.Archived {
				out[cycle+"archive"] = true
				continue
			}
			out[cycle+"outputs"] = true
			for id, in := range c.flows[ids.FlowID(f)].Inputs {
				if len(in) > 1 { // edges into a node that waits for one other are not counted
					out[cycle+"joins"] = true
				}
				out[cycle+"node:"+string(id)+":state"] = true
			}
		}
	}
	return out, wrong
}
