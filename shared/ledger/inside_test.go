package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
)

func openEmbedded(t *testing.T) *Ledger {
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return openAt(t, "redis://"+m.Addr())
}

func openAt(t *testing.T, address string) *Ledger {
	l, err := Open(t.Context(), Config{URL: address, Prefix: "inside-{" + uuid.NewString() + "}"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		if keys, err := must(l.node(ctx)).Keys(ctx, l.prefix+":*").Result(); err == nil && len(keys) > 0 {
			if err := l.rdb.Del(ctx, keys...).Err(); err != nil {
				t.Error(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// onBoth runs a test on the embedded and on the real server.
func onBoth(t *testing.T, test func(t *testing.T, l *Ledger)) {
	t.Run("embedded", func(t *testing.T) { test(t, openEmbedded(t)) })
	t.Run("real", func(t *testing.T) {
		address := os.Getenv("STATION_TEST_REDIS_URL")
		if address == "" {
			if os.Getenv("STATION_TEST_REQUIRE") == "1" {
				t.Fatal("STATION_TEST_REDIS_URL is not set and STATION_TEST_REQUIRE=1")
			}
			t.Skip("STATION_TEST_REDIS_URL is not set; make test starts a server and sets it")
		}
		test(t, openAt(t, address))
	})
}

// scene is a flow with nodes in every state: a is running, b waits for it, r
// retries, h is held, e is ready, o ended.
type scene struct {
	l        *Ledger
	p        *plan.Plan
	c        Started
	a        Claim
	ended    Started
	readyOfE Entry
	last     Claim // the only node of a cycle of another flow
}

func (s scene) at(n ids.NodeID) ids.Attempt {
	return ids.Attempt{Flow: s.p.Flow, Cycle: s.c.Cycle, UUID: s.c.UUID, Node: n, N: 1}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func setScene(t *testing.T, l *Ledger) scene {
	t.Helper()
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	p := &plan.Plan{Flow: "f", UID: uuid.New(), Revision: 1, OnFailure: plan.Continue, CycleTimeout: time.Hour}
	for _, id := range []ids.NodeID{"a", "b", "r", "h", "e", "o"} {
		p.Nodes = append(p.Nodes, plan.Node{ID: id, Type: "noop", Pool: "default", Delivery: plan.AtLeastOnce, Join: plan.AllSuccess})
	}
	p.Nodes[0].Successors = []plan.Successor{{Target: "b", InDegree: 1, Plain: true, Edges: []plan.Edge{{SourceHandle: "out"}}}}
	p.Nodes[1].Inputs = []plan.Input{{Source: "a", SourceHandle: "out"}}
	p.Nodes[5].Component = 1 // it stops, and ends no other's
	p.Seal()
	must(l.Takeover(ctx, 10))
	check(l.WritePlan(ctx, p))
	check(l.ActivateFlow(ctx, Activation{Flow: "f", UID: p.UID, Revision: 1, Document: []byte("{}")}))
	start := func(what string) Started {
		return must(l.StartCycle(ctx, 10, Start{Plan: p, Occasion: ids.Occasion(p.UID, what), Overlap: true}))
	}
	s := scene{l: l, p: p, ended: start("ended")}
	must(l.CancelCycle(ctx, 10, "f", s.ended.Cycle, s.ended.UUID, CauseCancelled))
	check(l.Sweep(ctx, 10, Entry{Attempt: ids.Attempt{Flow: "f", Cycle: s.ended.Cycle, UUID: s.ended.UUID}}, "cancelled", "x", []ids.NodeID{"a", "b", "r", "h", "e", "o"}))
	s.c = start("open")
	claim := func(n ids.NodeID) Claim {
		c, refusal, err := l.Claim(ctx, ClaimRequest{Attempt: s.at(n), Token: uuid.New(), Worker: "w", Lease: 10 * time.Second})
		check(err)
		if refusal != Granted {
			t.Fatalf("claim %s: %s", n, refusal)
		}
		return c
	}
	s.a = claim("a")
	r, o := claim("r"), claim("o")
	must(l.Fail(ctx, Failure{Attempt: r.Attempt, Token: r.Token, Plan: p.Node("r"), Class: "retryable", Error: "x", Retries: 1, OnFailure: plan.Continue}))
	check(l.Complete(ctx, Completion{Attempt: o.Attempt, Token: o.Token, Plan: p.Node("o"), Status: "stopped", Decided: AllEdges(Live)}))
	g := &plan.Plan{Flow: "g", UID: uuid.New(), Revision: 1, OnFailure: plan.Continue, CycleTimeout: time.Hour}
	g.Nodes = []plan.Node{{ID: "z", Type: "noop", Pool: "default", Delivery: plan.AtLeastOnce, Join: plan.AllSuccess}}
	g.Seal()
	check(l.WritePlan(ctx, g))
	check(l.ActivateFlow(ctx, Activation{Flow: "g", UID: g.UID, Revision: 1, Document: []byte("{}")}))
	alone := must(l.StartCycle(ctx, 10, Start{Plan: g, Occasion: ids.Occasion(g.UID, "x")}))
	last, refusal, err := l.Claim(ctx, ClaimRequest{Attempt: ids.Attempt{Flow: "g", Cycle: alone.Cycle, UUID: alone.UUID, Node: "z", N: 1}, Token: uuid.New(), Worker: "w", Lease: 10 * time.Second})
	check(err)
	if refusal != Granted {
		t.Fatalf("claim the last: %s", refusal)
	}
	s.last = last
	for _, e := range must(l.Outbox(ctx, "", 1000)) {
		if e.UUID == s.c.UUID && e.Node == "h" {
			check(l.Hold(ctx, 10, e, "type:x", "no worker"))
		}
		if e.UUID == s.c.UUID && e.Node == "e" {
			s.readyOfE = e
		}
	}
	return s
}

// transitions are the calls of a scene that write, by verb.
func (s scene) transitions(ctx context.Context) map[string]func() error {
	l, p := s.l, s.p
	cycle := ActiveCycle{Flow: "f", Cycle: s.c.Cycle, UUID: s.c.UUID}
	all := []ids.NodeID{"a", "b", "r", "h", "e", "o"}
	one := func(_ any, err error) error { return err }
	over := ActiveCycle{Flow: "f", Cycle: s.ended.Cycle, UUID: s.ended.UUID}
	return map[string]func() error{
		"takeover": func() error { return one(l.Takeover(ctx, 10)) },
		"activate_flow": func() error {
			return l.ActivateFlow(ctx, Activation{Flow: "f", UID: p.UID, Revision: 1, Document: []byte(`{"x":1}`)})
		},
		"pause_flow":  func() error { return one(l.PauseFlow(ctx, "f")) },
		"delete_flow": func() error { return one(l.DeleteFlow(ctx, "f")) },
		"start_cycle": func() error {
			return one(l.StartCycle(ctx, 10, Start{Plan: p, Occasion: uuid.New(), Overlap: true, TriggerKey: "k"}))
		},
		"skip_slots": func() error {
			return l.SkipSlots(ctx, 10, "f", p.UID, time.Time{}, time.UnixMilli(1000), time.UnixMilli(1000), 1, "x")
		},
		"dispatched": func() error { return l.Dispatched(ctx, 10, []Entry{s.readyOfE}) },
		"hold":       func() error { return l.Hold(ctx, 10, s.readyOfE, "type:x", "no worker") },
		"claim": func() error {
			_, _, err := l.Claim(ctx, ClaimRequest{Attempt: s.at("e"), Token: uuid.New(), Worker: "w", Lease: time.Second})
			return err
		},
		"suspect": func() error {
			_, _, err := l.Claim(ctx, ClaimRequest{Attempt: s.at("a"), Token: uuid.New(), Worker: "w", Lease: time.Second, Redelivered: true})
			return err
		},
		"heartbeat": func() error {
			return one(l.Heartbeat(ctx, "w", time.Second, []HeldClaim{{s.at("e"), uuid.New()}, {s.a.Attempt, s.a.Token}}))
		},
		"complete": func() error {
			return l.Complete(ctx, Completion{Attempt: s.a.Attempt, Token: s.a.Token, Plan: p.Node("a"), Status: "succeeded", Decided: AllEdges(Live)})
		},
		"complete, and the next": func() error {
			return one(l.CompleteNext(ctx, Completion{Attempt: s.a.Attempt, Token: s.a.Token, Plan: p.Node("a"), Status: "succeeded", Decided: AllEdges(Live),
				Outputs: map[string]json.RawMessage{"out": json.RawMessage("1")}}, Next{Token: uuid.New(), Worker: "w", Lease: time.Second, Nodes: []ids.NodeID{"b"}}))
		},
		"claim_several": func() error {
			a := s.at("e")
			return one(l.call(ctx, "claim_several", 0, "w", 1000, 400, "f", a.Cycle, a.UUID.String(), "e", 1, uuid.NewString(), 0))
		},
		"complete_several": func() error {
			a := s.a.Attempt
			return one(l.call(ctx, "complete_several", 0, 1000, "w", 1000, "f", a.Cycle, a.UUID.String(), "a", 1, s.a.Token.String(), "succeeded", "", 0, 3, "", 1, 1, 1, uuid.NewString(), 1, "\nb\n",
				"out", "1", "b", 1, 1, 1, 0, 0))
		},
		"complete_several, one the last": func() error {
			a := s.last.Attempt
			return one(l.call(ctx, "complete_several", 0, 1000, "w", 1000, "g", a.Cycle, a.UUID.String(), "z", 1, s.last.Token.String(), "succeeded", "", 0, 3, "", 1, 0, 0, "", 1, "",
				"x", "1"))
		},
		"complete the last": func() error {
			return l.Complete(ctx, Completion{Attempt: s.last.Attempt, Token: s.last.Token, Plan: &s.last.Node, Status: "succeeded", Decided: AllEdges(Live),
				Outputs: map[string]json.RawMessage{"x": json.RawMessage("1")}})
		},
		"fail": func() error {
			return one(l.Fail(ctx, Failure{Attempt: s.a.Attempt, Token: s.a.Token, Plan: p.Node("a"), Class: "permanent", OnFailure: plan.Continue}))
		},
		"expire": func() error {
			return one(l.Expire(ctx, 10, Expiry{Attempt: s.a.Attempt, Token: s.a.Token, Plan: p.Node("a"), OnFailure: plan.Continue}))
		},
		"release":     func() error { return l.Release(ctx, s.a.Attempt, s.a.Token, true) },
		"decline":     func() error { return l.Decline(ctx, s.at("e"), "w", time.Second) },
		"retry":       func() error { return l.Retry(ctx, 10, s.at("r")) },
		"offer_again": func() error { return one(l.OfferAgain(ctx, 10, s.at("h"), "x")) },
		"decide": func() error {
			return l.Decide(ctx, 10, Entry{ID: "1-1", Attempt: s.at("b")}, p.Node("b"), Verdict{Reason: "x", Passes: Dead})
		},
		"sweep": func() error {
			return l.Sweep(ctx, 10, Entry{Attempt: s.at("o")}, "stopped", "x", all)
		},
		"cancel_cycle": func() error { return one(l.CancelCycle(ctx, 10, "f", s.c.Cycle, s.c.UUID, CauseCancelled)) },
		"release_held": func() error { return one(l.ReleaseHeld(ctx, 10, "type:x", "")) },
		"mend_counts": func() error {
			return one(l.MendCounts(ctx, 10, cycle, 1, map[string]int{"completed_nodes": 1}, []JoinFix{{"b:live", "", 1}}))
		},
		"mend_node":   func() error { return one(l.MendNode(ctx, 10, s.at("e"), "ready", MendOffer, 0)) },
		"mend_closed": func() error { return one(l.MendClosed(ctx, 10, over)) },
		"told": func() error {
			return l.Told(ctx, 10, Entry{ID: "1-1", Attempt: ids.Attempt{Flow: over.Flow, Cycle: over.Cycle, UUID: over.UUID}})
		},
		"note_repair":   func() error { return l.NoteRepair(ctx, 10, s.at("e"), "x", "y") },
		"note_recovery": func() error { return l.NoteRecovery(ctx, "x", "y", "z", 2) },
		"archive_cycles": func() error {
			return one(l.call(ctx, "archive_cycles", 10, "f", 1, 2, "a", "b", s.ended.Cycle, s.ended.UUID.String(), "packed", s.c.Cycle, s.c.UUID.String(), "packed"))
		},
		"delete_cycles": func() error {
			return l.DeleteCycles(ctx, 10, "f", []int64{s.ended.Cycle, 1000}, [][]ids.NodeID{all, all})
		},
		"end_unknown": func() error {
			return l.EndUnknown(ctx, Doubt{Attempt: s.a.Attempt, Token: s.a.Token, Plan: p.Node("a"), OnFailure: plan.Continue, Why: "x"})
		},
		"block":    func() error { return l.Block(ctx, s.a.Attempt, s.a.Token, BlockedByEtcd) },
		"once_era": func() error { return one(l.OnceEra(ctx, 10, "x")) },
		"beat_coordinator": func() error {
			return l.BeatCoordinator(ctx, Coordinator{ID: "c", URL: "http://c"}, time.Second)
		},
		"beat_worker": func() error { return l.BeatWorker(ctx, Worker{ID: "w"}, time.Second) },
	}
}

// Redis rolls no script back, so a script that is going to fail has to fail
// before its first write: here each key in turn is of a wrong type.
func TestAnErrorLeavesTheStateUnchanged(t *testing.T) {
	onBoth(t, func(t *testing.T, l *Ledger) {
		ctx := t.Context()
		s := setScene(t, l)
		cycle := func(what string) string { return l.cycleKey("f", s.c.Cycle, what) }
		keys := []string{l.key("journal"), l.key("outbox"), l.key("leases"), l.key("timers"), l.key("active"), l.key("closing"), l.key("repairs"), l.key("recoveries"), l.key("deleted"), l.key("workers"), l.key("coordinators"), l.key("once"), l.key("held:type:x"),
			l.key("holds"), l.key("flows"), l.flowKey("f", "state"), l.flowKey("f", "cycles"), l.flowKey("f", "triggers"), cycle("joins"), cycle("outputs"), cycle("status"),
			l.nodeKey("f", s.c.Cycle, "a"), l.nodeKey("f", s.c.Cycle, "e"), l.nodeKey("f", s.c.Cycle, "h"), l.nodeKey("f", s.ended.Cycle, "h"), l.cycleKey("f", s.ended.Cycle, "status"),
			l.flowKey("g", "state"), l.cycleKey("g", s.last.Cycle, "status"), l.cycleKey("g", s.last.Cycle, "outputs"), l.nodeKey("g", s.last.Cycle, "z")}
		failsWhole(t, l, keys, s.transitions(ctx))
	})
}

// The removal of an open cycle of a deleted flow touches more than that of an ended one.
func TestAnErrorInARemovalLeavesTheStateUnchanged(t *testing.T) {
	onBoth(t, func(t *testing.T, l *Ledger) {
		ctx := t.Context()
		s := setScene(t, l)
		must(l.DeleteFlow(ctx, "f"))
		var keys []string
		for _, what := range []string{"journal", "leases", "timers", "active", "closing", "held:type:x"} {
			keys = append(keys, l.key(what))
		}
		for _, what := range []string{"state", "cycles", "triggers"} {
			keys = append(keys, l.flowKey("f", what))
		}
		for _, n := range []int64{s.c.Cycle, s.ended.Cycle} {
			keys = append(keys, l.cycleKey("f", n, "status"), l.nodeKey("f", n, "a"), l.nodeKey("f", n, "o"))
		}
		all := [][]ids.NodeID{{"a", "b", "r", "h", "e", "o"}, {"a", "b", "r", "h", "e", "o"}}
		failed := failsWhole(t, l, keys, map[string]func() error{
			"delete_cycles": func() error {
				return l.DeleteCycles(ctx, 10, "f", []int64{s.c.Cycle, s.ended.Cycle}, all)
			},
		})
		if n := failed["delete_cycles"]; n != len(keys) {
			t.Errorf("delete_cycles failed on %d of %d keys", n, len(keys))
		}
	})
}

// failsWhole makes calls while each key in turn is of a wrong type: one that fails has changed nothing. It
// returns how often each failed.
func failsWhole(t *testing.T, l *Ledger, keys []string, calls map[string]func() error) map[string]int {
	t.Helper()
	ctx := t.Context()
	before := must(l.Dump(ctx))
	failed := map[string]int{}
	for _, key := range keys {
		restore(t, l, before)
		if err := l.rdb.Set(ctx, key, "not what it should be", 0).Err(); err != nil {
			t.Fatal(err)
		}
		broken := must(l.Dump(ctx))
		for verb, call := range calls {
			err := call()
			after := must(l.Dump(ctx))
			if err != nil {
				failed[verb]++
				if d := cmp.Diff(broken, after); d != "" {
					t.Errorf("%s failed on %s and changed the state (-before +after):\n%s", verb, key, d)
				}
			}
			if !cmp.Equal(broken, after) {
				restore(t, l, broken)
			}
		}
	}
	restore(t, l, before)
	for verb, call := range calls {
		if failed[verb] == 0 {
			t.Errorf("%s never failed", verb)
		}
		if err := call(); err != nil {
			t.Errorf("%s fails in a sound ledger: %v", verb, err)
		}
		if cmp.Equal(before, must(l.Dump(ctx))) {
			t.Errorf("%s changes nothing in a sound ledger", verb)
		}
		restore(t, l, before)
	}
	return failed
}

// valuesOf reads what a dump says of an entry of a stream.
func valuesOf(line string) map[string]string {
	_, text, _ := strings.Cut(line, " ")
	values, last := map[string]string{}, ""
	for _, f := range strings.Split(strings.TrimSuffix(strings.TrimPrefix(text, "map["), "]"), " ") {
		name, value, ok := strings.Cut(f, ":")
		if !ok { // the rest of a detail with blanks
			values[last] += " " + f
			continue
		}
		values[name], last = value, name
	}
	return values
}

// restore puts a dump back.
func restore(t *testing.T, l *Ledger, d map[string]string) {
	t.Helper()
	ctx := t.Context()
	now := must(l.Dump(ctx))
	pipe := l.rdb.TxPipeline()
	for key := range now {
		if text, ok := d[key]; !ok || now[key] != text {
			pipe.Del(ctx, key)
		}
	}
	for key, text := range d {
		if old, ok := now[key]; ok && old == text {
			continue
		}
		lines := strings.Split(text, "\n")
		name := strings.TrimPrefix(key, l.prefix+":")
		switch {
		case text == "not what it should be" || name == "epoch" || name == "schema" || strings.HasSuffix(name, ":config") || strings.HasSuffix(name, ":archive"):
			pipe.Set(ctx, key, text, 0)
		case name == "journal":
			for i := 0; i < len(lines); {
				id, _, _ := strings.Cut(lines[i], " ")
				args := []any{"XADD", key, id}
				for field := journalField; i < len(lines) && (field == journalField || strings.HasPrefix(lines[i], id+"."+field+" ")); i++ {
					var values []string
					of := valuesOf(lines[i])
					for _, name := range journalFields {
						values = append(values, of[name])
					}
					args = append(args, field, strings.Join(values, "|"))
					field = strconv.Itoa((len(args) - 3) / 2)
				}
				pipe.Do(ctx, args...)
			}
		case name == "outbox":
			for _, line := range lines {
				id, _, _ := strings.Cut(line, " ")
				args := []any{"XADD", key, id}
				for name, value := range valuesOf(line) {
					args = append(args, name, value)
				}
				pipe.Do(ctx, args...)
			}
		case name == "leases" || name == "timers" || name == "active" || name == "closing" || name == "deleted" || strings.HasSuffix(name, ":cycles"):
			for _, line := range lines {
				member, score, _ := strings.Cut(line, " ")
				pipe.Do(ctx, "ZADD", key, score, member)
			}
		case name == "flows" || name == "workers" || name == "holds" || strings.HasPrefix(name, "held:"):
			for _, line := range lines {
				pipe.SAdd(ctx, key, line)
			}
		case name == "recoveries":
			for _, line := range lines {
				pipe.RPush(ctx, key, line)
			}
		default:
			for _, line := range lines {
				k, v, _ := strings.Cut(line, "=")
				pipe.HSet(ctx, key, k, v)
			}
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
}

// A refusal holds even where it can't be journalled.
func TestARefusalNeedsNoJournal(t *testing.T) {
	onBoth(t, func(t *testing.T, l *Ledger) {
		ctx := t.Context()
		s := setScene(t, l)
		must(l.Takeover(ctx, 11))
		if err := l.rdb.Set(ctx, l.key("journal"), "not a stream", 0).Err(); err != nil {
			t.Fatal(err)
		}
		before := must(l.Dump(ctx))
		if err := l.Drop(ctx, 10, "1-1"); !Fenced(err) {
			t.Errorf("drop by a lower epoch: %v", err)
		}
		stranger := s.a
		stranger.Token = uuid.New()
		if err := l.Complete(ctx, Completion{Attempt: s.a.Attempt, Token: stranger.Token, Plan: s.p.Node("a"), Status: "succeeded", Decided: AllEdges(Live)}); !errors.Is(err, ErrNotMine) {
			t.Errorf("complete by a stranger: %v", err)
		}
		if _, refusal, err := l.Claim(ctx, ClaimRequest{Attempt: s.a.Attempt, Token: uuid.New(), Worker: "w", Lease: time.Second}); err != nil || refusal != Over {
			t.Errorf("claim of a running attempt: %s, %v", refusal, err)
		}
		if d := cmp.Diff(before, must(l.Dump(ctx))); d != "" {
			t.Error(d)
		}
	})
}

func TestARestoreIsWhole(t *testing.T) {
	onBoth(t, func(t *testing.T, l *Ledger) {
		setScene(t, l)
		before := must(l.Dump(t.Context()))
		restore(t, l, map[string]string{})
		if left := must(l.Dump(t.Context())); len(left) > 0 {
			t.Fatalf("left: %v", left)
		}
		restore(t, l, before)
		if d := cmp.Diff(before, must(l.Dump(t.Context()))); d != "" {
			t.Fatal(d)
		}
	})
}

// A leader may die between the parts of a removal, and workers go on meanwhile.
func TestHalfDeletedCycle(t *testing.T) {
	onBoth(t, func(t *testing.T, l *Ledger) {
		ctx := t.Context()
		s := setScene(t, l)
		must(l.DeleteFlow(ctx, "f"))
		if _, err := l.call(ctx, "delete_cycles", 10, "f", 0, 0, 3, "b", "r", "h", s.c.Cycle); err != nil { // not the last part
			t.Fatal(err)
		}
		if _, refusal, err := l.Claim(ctx, ClaimRequest{Attempt: s.at("e"), Token: uuid.New(), Worker: "w", Lease: time.Second}); err != nil || refusal != Ending {
			t.Fatalf("claim: %s, %v", refusal, err)
		}
		beats, err := l.Heartbeat(ctx, "w", time.Second, []HeldClaim{{s.a.Attempt, s.a.Token}})
		if err != nil || beats[0] != Cancel {
			t.Fatalf("heartbeat: %v, %v", beats, err)
		}
		if err := s.transitions(ctx)["complete"](); err != nil {
			t.Fatal(err)
		}
		for verb, call := range s.transitions(ctx) {
			if verb == "takeover" || strings.HasPrefix(verb, "delete") || verb == "beat_worker" {
				continue
			}
			if err := call(); err != nil && !errors.Is(err, ErrGone) && !errors.Is(err, ErrDeleting) && !errors.Is(err, ErrNotMine) && !errors.Is(err, ErrEnding) {
				t.Errorf("%s: %v", verb, err)
			}
		}
		for _, n := range []int64{s.c.Cycle, s.ended.Cycle} {
			if err := l.DeleteCycles(ctx, 11, "f", []int64{n}, [][]ids.NodeID{{"a", "b", "r", "h", "e", "o"}}); err != nil {
				t.Fatal(err)
			}
		}
		if left, err := l.PurgeFlow(ctx, 11, "f", ""); err != nil || left != 0 {
			t.Fatalf("purge: %d, %v", left, err)
		}
		for key, text := range must(l.Dump(ctx)) {
			if strings.Contains(key, ":flow:g:") { // another flow's
				continue
			}
			if strings.Contains(key, ":flow:") || strings.HasSuffix(key, ":leases") || strings.HasSuffix(key, ":timers") || strings.HasSuffix(key, ":active") {
				t.Errorf("%s is left: %s", key, text)
			}
		}
	})
}

// A leader may die between the parts of an archive: the stored record stays.
func TestHalfArchivedCycle(t *testing.T) {
	onBoth(t, func(t *testing.T, l *Ledger) {
		ctx := t.Context()
		s := setScene(t, l)
		whole := must(l.Cycle(ctx, "f", s.ended.Cycle))
		blob := must(pack(Archive{Nodes: []NodeState{{Node: "a", Status: "cancelled"}}}))
		if _, err := l.call(ctx, "archive_cycles", 10, "f", 0, 2, "a", "b", whole.Cycle, whole.UUID.String(), blob); err != nil {
			t.Fatal(err)
		}
		half := must(l.Cycle(ctx, "f", whole.Cycle))
		if !half.Archiving || half.Archived {
			t.Fatalf("archiving %t, archived %t", half.Archiving, half.Archived)
		}
		for _, c := range []CycleState{whole, half} { // whole: as a leader that read before
			if err := l.ArchiveCycles(ctx, 11, []CycleState{c}, [][]ids.NodeID{{"a", "b", "r", "h", "e", "o"}}); err != nil {
				t.Fatal(err)
			}
		}
		a := must(l.ReadArchive(ctx, "f", whole.Cycle))
		if len(a.Nodes) != 1 || a.Nodes[0].Status != "cancelled" {
			t.Errorf("the record was replaced: %+v", a)
		}
	})
}

// A half-archived cycle is finished beside a whole one, whatever the leader read; and who read that a
// part is gone stores nothing where all is there.
func TestHalfArchivedCycleAmongOthers(t *testing.T) {
	onBoth(t, func(t *testing.T, l *Ledger) {
		ctx := t.Context()
		s := setScene(t, l)
		second := must(l.StartCycle(ctx, 10, Start{Plan: s.p, Occasion: ids.Occasion(s.p.UID, "second"), Overlap: true}))
		must(l.CancelCycle(ctx, 10, "f", second.Cycle, second.UUID, CauseCancelled))
		nodes := []ids.NodeID{"a", "b", "r", "h", "e", "o"}
		if err := l.Sweep(ctx, 10, Entry{Attempt: ids.Attempt{Flow: "f", Cycle: second.Cycle, UUID: second.UUID}}, "cancelled", "x", nodes); err != nil {
			t.Fatal(err)
		}
		cycles := must(l.CyclesAt(ctx, "f", []int64{s.ended.Cycle, second.Cycle}))
		parted := cycles[1]
		parted.Archiving = true
		if err := l.ArchiveCycles(ctx, 10, []CycleState{parted}, [][]ids.NodeID{nodes}); !errors.Is(err, ErrGone) {
			t.Errorf("one that is whole by now: %v", err)
		}
		must(l.rdb.Set(ctx, l.cycleKey("f", s.ended.Cycle, "archive"), must(pack(Archive{Nodes: []NodeState{{Node: "a", Status: "cancelled"}}})), 0).Result())
		must(l.rdb.HSet(ctx, l.cycleKey("f", s.ended.Cycle, "status"), "archived", "part").Result())
		must(l.rdb.Del(ctx, l.nodeKey("f", s.ended.Cycle, "a"), l.nodeKey("f", s.ended.Cycle, "b")).Result())
		if err := l.ArchiveCycles(ctx, 10, cycles, [][]ids.NodeID{nodes, nodes}); err != nil {
			t.Fatal(err)
		}
		for i, want := range []int{1, 6} {
			if a := must(l.ReadArchive(ctx, "f", cycles[i].Cycle)); len(a.Nodes) != want || a.Nodes[0].Status != "cancelled" {
				t.Errorf("cycle %d: %+v", cycles[i].Cycle, a)
			}
		}
		for key := range must(l.Dump(ctx)) {
			for _, c := range cycles {
				if strings.HasPrefix(key, l.cycleKey("f", c.Cycle, "node")) {
					t.Errorf("%s is left", key)
				}
			}
		}
	})
}

func TestOpenRefusesAnotherSchema(t *testing.T) {
	m := miniredis.RunT(t)
	if err := m.Set("station:schema", "99"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{URL: "redis://" + m.Addr()}); !errors.Is(err, ErrSchema) {
		t.Errorf("open: %v", err)
	}
	if err := m.Set("other:schema", Schema); err != nil {
		t.Fatal(err)
	}
	l, err := Open(t.Context(), Config{URL: "redis://" + m.Addr(), Prefix: "other"})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Set("other:schema", "2"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Takeover(t.Context(), 5); !errors.Is(err, ErrSchema) {
		t.Errorf("takeover: %v", err)
	}
	if m.Exists("other:epoch") {
		t.Error("a refused takeover wrote its epoch")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenReportsAnUnreachableServer(t *testing.T) {
	m := miniredis.RunT(t)
	address := m.Addr()
	m.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := Open(ctx, Config{URL: "redis://" + address}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("open: %v", err)
	}
	m = miniredis.RunT(t)
	m.RequireAuth("secret")
	if _, err := Open(t.Context(), Config{URL: "redis://:wrong@" + m.Addr()}); err == nil || strings.Contains(err.Error(), "wrong@") {
		t.Errorf("open with a wrong password: %v", err)
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		url, prefix string
		want        string // addresses, master, db, cluster; or the error
	}{
		{"redis://u:p@h:1/3", "", "[h:1] u p  3 false false"},
		{"rediss://h:1", "", "[h:1]    0 false true"},
		{"redis+sentinel://u:p@a:1,b:2/main?db=4", "", "[a:1 b:2] u p main 4 false false"},
		{"redis+cluster://a:1,b:2", "station{0}", "[a:1 b:2]    0 true false"},
		{"redis+cluster://a:1", "station", "redis cluster needs a hash tag in the prefix, for example station{0}, unless there are partitions"},
		{"redis+sentinel://a:1", "", "redis+sentinel URL needs the master's name as its path"},
		{"redis+sentinel://a:1/m?db=x", "", "redis+sentinel URL: db is not a number"},
		{"http://h:1", "", `redis URL has scheme "http": use redis, rediss, redis+sentinel or redis+cluster`},
		{"redis://h:1/x", "", "redis URL: database and options can't be read"},
		{"nonsense", "", "redis URL is not of the form redis://[user:password@]host:port[/db]"},
	} {
		o, err := options(Config{URL: c.url, Prefix: c.prefix})
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprintf("%v %s %s %s %d %t %t", o.Addrs, o.Username, o.Password, o.MasterName, o.DB, o.IsClusterMode, o.TLSConfig != nil)
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.url, got, c.want)
		}
		if u, parseErr := url.Parse(c.url); err != nil && parseErr == nil && u.User != nil && strings.Contains(got, u.User.String()) {
			t.Errorf("%s: the error holds the password", c.url)
		}
	}
}

// TestTheClockWaitsForALeadersWord: between two words of the leader scripts let little
// time pass, however Redis's clock is set.
func TestTheClockWaitsForALeadersWord(t *testing.T) {
	m := miniredis.RunT(t)
	l := openAt(t, "redis://"+m.Addr())
	noon := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	m.SetTime(noon)
	must(l.Takeover(t.Context(), 5))
	is := func(want time.Time) {
		t.Helper()
		if got := must(l.Now(t.Context())); !got.Equal(want) {
			t.Fatalf("it is %s, want %s", got, want)
		}
		if got := must(l.Takeover(t.Context(), 5)); !got.Equal(want) {
			t.Fatalf("to scripts it is %s, want %s", got, want)
		}
	}
	m.SetTime(noon.Add(time.Hour))
	is(noon.Add(time.Hour)) // nobody has ever confirmed it: a ledger of its own
	m.SetTime(noon)
	if !must(l.ConfirmClock(t.Context(), 5, 0)) {
		t.Fatal("not confirmed")
	}
	m.SetTime(noon.Add(3 * time.Second))
	is(noon.Add(3 * time.Second))
	m.SetTime(noon.Add(time.Hour))
	is(noon.Add(5 * time.Second))
	m.SetTime(noon.Add(-time.Hour))
	is(noon)
	if must(l.ConfirmClock(t.Context(), 5, time.Hour)) {
		t.Fatal("a correction was confirmed that does not stand")
	}
	is(noon)
	if !must(l.SetClock(t.Context(), 5, 0, time.Hour)) {
		t.Fatal("not set")
	}
	is(noon)
	m.SetTime(noon.Add(-time.Hour + 2*time.Second))
	is(noon.Add(2 * time.Second))
	if _, err := l.ConfirmClock(t.Context(), 4, time.Hour); !Fenced(err) {
		t.Fatalf("a deposed leader confirms: %v", err)
	}
}
