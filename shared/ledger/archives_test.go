package ledger

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/tradingflow/weather-station/shared/ids"
)

// TestArchiveCycles: each cycle gets its own archive, one with many nodes between the others
// too, and one that is gone keeps none of them from it.
func TestArchiveCycles(t *testing.T) {
	onBoth(t, func(t *testing.T, l *Ledger) {
		ctx := t.Context()
		var many []ids.NodeID
		for i := range 2*readTogether + 1 {
			many = append(many, ids.NodeID(fmt.Sprintf("n%d", i)))
		}
		numbers := []int64{7, 8, 9, 10}
		nodes := [][]ids.NodeID{{"a", "b"}, many, {"gone"}, {"c"}}
		for i, n := range numbers {
			if n == 9 {
				continue
			}
			pipe := l.rdb.Pipeline()
			pipe.HSet(ctx, l.cycleKey("f", n, "status"), "uuid", uuid.NewString(), "cycle", n, "status", "completed", "revision", 1, "output_bytes", 0) // of a script that tore
			for _, node := range nodes[i] {
				pipe.HSet(ctx, l.nodeKey("f", n, node), "status", "succeeded", "worker", fmt.Sprintf("%d-%s", n, node))
			}
			pipe.HSet(ctx, l.cycleKey("f", n, "outputs"), string(nodes[i][0])+":out", n)
			if _, err := pipe.Exec(ctx); err != nil {
				t.Fatal(err)
			}
		}
		cycles := must(l.CyclesAt(ctx, "f", numbers))
		if cycles[2].UUID != uuid.Nil || cycles[3].Cycle != 10 {
			t.Fatalf("read: %+v", cycles)
		}
		cycles[2] = CycleState{Flow: "f", Cycle: 9, UUID: uuid.New()} // as it was when it was read
		if err := l.ArchiveCycles(ctx, 11, cycles, nodes); !errors.Is(err, ErrGone) {
			t.Errorf("with one that is gone: %v", err)
		}
		for i, c := range must(l.CyclesAt(ctx, "f", numbers)) {
			if numbers[i] == 9 {
				continue
			}
			a := must(l.ReadArchive(ctx, "f", c.Cycle))
			last := len(nodes[i]) - 1
			if !c.Archived || len(a.Nodes) != last+1 || a.Nodes[last].Worker != fmt.Sprintf("%d-%s", c.Cycle, nodes[i][last]) ||
				string(a.Outputs[string(nodes[i][0])+":out"]) != fmt.Sprint(c.Cycle) {
				t.Errorf("cycle %d: archived %t, %d nodes, outputs %s", c.Cycle, c.Archived, len(a.Nodes), a.Outputs)
			}
			if n := must(l.rdb.Exists(ctx, l.nodeKey("f", c.Cycle, nodes[i][last]), l.cycleKey("f", c.Cycle, "outputs")).Result()); n > 0 {
				t.Errorf("cycle %d: %d keys are left", c.Cycle, n)
			}
		}
		fenced := must(l.CyclesAt(ctx, "f", numbers[:1]))
		if _, err := l.Takeover(ctx, 12); err != nil {
			t.Fatal(err)
		}
		if err := l.ArchiveCycles(ctx, 11, fenced, nodes[:1]); !Fenced(err) {
			t.Errorf("of an old epoch: %v", err)
		}
		if others, err := l.DeleteArchived(ctx, 12, "f", numbers); err != nil || len(others) > 0 {
			t.Errorf("not deleted: %v, %v", others, err)
		}
		for key := range must(l.Dump(ctx)) {
			if strings.Contains(key, ":cycle:") {
				t.Errorf("%s is left", key)
			}
		}
	})
}

// TestDeleteCycles: nothing is left of cycles that were never archived, one with many nodes between the others too.
func TestDeleteCycles(t *testing.T) {
	onBoth(t, func(t *testing.T, l *Ledger) {
		ctx := t.Context()
		var many []ids.NodeID
		for i := range 2*Chunk + 1 {
			many = append(many, ids.NodeID(fmt.Sprintf("n%d", i)))
		}
		numbers := []int64{7, 8, 9, 10, 11}
		nodes := [][]ids.NodeID{{"a", "b"}, {"a", "b"}, many, {"gone"}, {"a"}}
		for i, n := range numbers {
			if n == 10 {
				continue
			}
			pipe, id := l.rdb.Pipeline(), uuid.NewString()
			pipe.HSet(ctx, l.cycleKey("f", n, "status"), "uuid", id, "cycle", n, "status", "failed", "revision", 1)
			pipe.ZAdd(ctx, l.flowKey("f", "cycles"), redis.Z{Score: 1, Member: n})
			for _, node := range nodes[i] {
				pipe.HSet(ctx, l.nodeKey("f", n, node), "status", "failed", "attempt", 2)
				pipe.ZAdd(ctx, l.key("leases"), redis.Z{Score: 1, Member: fmt.Sprintf("f|%d|%s|%s", n, id, node)})
				pipe.ZAdd(ctx, l.key("timers"), redis.Z{Score: 1, Member: fmt.Sprintf("retry|f|%d|%s|%s|2", n, id, node)})
			}
			pipe.HSet(ctx, l.cycleKey("f", n, "outputs"), string(nodes[i][0])+":out", n)
			if _, err := pipe.Exec(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if others, err := l.DeleteArchived(ctx, 11, "f", numbers); err != nil || !slices.Equal(others, []int64{7, 8, 9, 11}) {
			t.Errorf("others: %v, %v", others, err)
		}
		if err := l.DeleteCycles(ctx, 11, "f", numbers, nodes); err != nil {
			t.Fatal(err)
		}
		for key, text := range must(l.Dump(ctx)) {
			if !strings.HasSuffix(key, ":journal") && !strings.HasSuffix(key, ":epoch") && !strings.HasSuffix(key, ":schema") {
				t.Errorf("%s is left: %s", key, text)
			}
		}
	})
}
