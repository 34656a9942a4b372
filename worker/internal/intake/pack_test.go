package intake_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/worker/node"
)

// together offers n nodes of a type in one message.
func (w *world) together(nodeType string, n int) {
	tasks := make([]task.Task, n)
	for i := range tasks {
		tasks[i] = task.Task{Attempt: ids.Attempt{Flow: "f", Cycle: 1, UUID: uuid.Max, Node: ids.NodeID(fmt.Sprint(nodeType, i)), N: 1}, Type: nodeType, Pool: "default"}
	}
	w.publish(task.EncodePack(tasks))
}

// counts requires how often the ledger heard each verb.
func (w *world) counts(want map[string]int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	got := map[string]int{}
	for _, s := range w.said {
		verb, _, _ := strings.Cut(s, " ")
		got[verb]++
	}
	for _, verb := range []string{"claim", "complete", "decline", "release"} {
		if got[verb] != want[verb] {
			w.t.Errorf("the ledger heard %q %d times, want %d", verb, got[verb], want[verb])
		}
	}
}

// TestPackRunsTogether: the tasks of one message run at the same time, and it is acked
// when all are ended.
func TestPackRunsTogether(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("n", takes(time.Minute))
		w.start(4)
		w.together("n", 4)
		pass(time.Minute - time.Second)
		w.counts(map[string]int{"claim": 4})
		pass(2 * time.Second)
		w.counts(map[string]int{"claim": 4, "complete": 4})
		w.stop()
		w.ends()
		w.empty()
	})
}

// TestPackOfShortTasks: what waits for a place here runs here when that is soon.
func TestPackOfShortTasks(t *testing.T) {
	bubble(t, func(w *world) {
		var mu sync.Mutex
		running, most := 0, 0
		w.handle("n", func(context.Context, *node.Input) (node.Result, error) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			<-time.After(50 * time.Millisecond)
			mu.Lock()
			running--
			mu.Unlock()
			return node.Result{}, nil
		})
		w.start(2)
		w.together("n", 16)
		w.offer("n")
		pass(time.Second)
		w.counts(map[string]int{"claim": 17, "complete": 17})
		if most != 2 {
			t.Errorf("%d tasks ran at the same time on 2 slots", most)
		}
		w.stop()
		w.ends()
		w.empty()
	})
}

// TestOnePackAfterTheOther: the places go to the tasks of one message before those of the next, so a slot is
// free long before all have ended; and what comes alone then is next.
func TestOnePackAfterTheOther(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("n", takes(50*time.Millisecond))
		alone := time.Duration(0)
		began := time.Now()
		w.handle("alone", func(context.Context, *node.Input) (node.Result, error) {
			alone = time.Since(began)
			return node.Result{}, nil
		})
		w.start(2)
		w.together("n", 8)
		w.together("n", 8)
		w.offer("alone")
		pass(time.Second)
		w.counts(map[string]int{"claim": 17, "complete": 17})
		if all := 8 * 50 * time.Millisecond; alone > all*3/4 {
			t.Errorf("what came behind two messages began after %s; all that is in them takes %s", alone, all)
		}
		w.stop()
		w.ends()
		w.empty()
	})
}

// TestReportsOverlap: the next task is claimed while the last one's report is under way,
// of which there are no more than slots; nothing that ran is lost.
func TestReportsOverlap(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("n", takes(100*time.Millisecond))
		w.err, w.only = errAway, "complete"
		w.start(2)
		w.together("n", 7)
		pass(150 * time.Millisecond)
		w.counts(map[string]int{"claim": 4})
		pass(700 * time.Millisecond)
		w.counts(map[string]int{"claim": 4})
		pass(time.Minute)
		w.counts(map[string]int{"claim": 4, "decline": 3})
		w.away(nil)
		pass(2 * time.Second)
		w.counts(map[string]int{"claim": 4, "decline": 3, "complete": 4})
		w.stop()
		w.ends()
		w.empty()
	})
}

// TestReportsHeldAtTheEnd: results for which there is no place among the reports hold up
// no end, and their messages go back.
func TestReportsHeldAtTheEnd(t *testing.T) {
	for _, killed := range []bool{false, true} {
		bubble(t, func(w *world) {
			w.handle("n", takes(100*time.Millisecond))
			w.err, w.only = errAway, "complete"
			w.start(1)
			w.together("n", 2)
			pass(time.Second / 2)
			w.counts(map[string]int{"claim": 2})
			if killed {
				close(w.killed)
				<-w.done
				w.stop()
			} else {
				w.stop()
				if took := w.ends(); took > grace+10*time.Second {
					t.Errorf("intake took %s to end", took)
				}
			}
			w.counts(map[string]int{"claim": 2})
			w.back()
		})
	}
}

// TestPackOfLongTasks: what finds no place is offered to other workers after a moment,
// and a message of which nothing has begun goes back.
func TestPackOfLongTasks(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("n", takes(time.Minute))
		w.start(3)
		w.together("n", 5)
		pass(500 * time.Millisecond)
		w.offer("n") // to one of the slots that have no message
		pass(400 * time.Millisecond)
		w.counts(map[string]int{"claim": 3})
		if d := w.left(queue); d != nil {
			t.Error("the second message was not taken")
		}
		pass(time.Second)
		w.counts(map[string]int{"claim": 3, "decline": 2})
		w.back()
		pass(time.Minute)
		w.counts(map[string]int{"claim": 3, "complete": 3, "decline": 2})
		w.offer("n") // slots that found no place receive again
		w.offer("n")
		w.offer("n")
		pass(time.Millisecond)
		w.counts(map[string]int{"claim": 6, "complete": 3, "decline": 2})
		w.stop()
		w.ends()
		w.empty()
	})
}

// TestPackDrains: at a stop what has begun is finished, and the rest is offered again at
// once.
func TestPackDrains(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("n", takes(20*time.Second))
		w.start(1)
		w.together("n", 3)
		pass(time.Millisecond)
		w.stop()
		pass(time.Millisecond)
		w.counts(map[string]int{"claim": 1, "decline": 2})
		w.ends()
		w.counts(map[string]int{"claim": 1, "decline": 2, "complete": 1})
		w.empty()
	})
}

// TestPackIsHandedBack when one of its tasks is to be: here, one that may not be started
// again and was interrupted.
func TestPackIsHandedBack(t *testing.T) {
	bubble(t, func(w *world) {
		w.once = true
		w.handle("n", func(ctx context.Context, in *node.Input) (node.Result, error) {
			if in.Node == "n0" {
				return node.Result{}, nil
			}
			<-ctx.Done()
			return node.Result{}, ctx.Err()
		})
		w.start(2)
		w.together("n", 2)
		pass(time.Second)
		w.stop()
		w.ends()
		w.counts(map[string]int{"claim": 2, "complete": 1})
		w.back()
	})
}

// TestPackIsAckedEarly once, when its attempts run long.
func TestPackIsAckedEarly(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("n", takes(50*time.Minute))
		w.start(2)
		w.together("n", 2)
		pass(11 * time.Minute)
		w.broker.Disconnect() // would deliver again what is not acked
		w.empty()
		pass(time.Hour)
		w.counts(map[string]int{"claim": 2, "complete": 2})
		w.stop()
		w.ends()
		w.empty()
	})
}

// TestPackUnreadableInPart: what can be read is run; what can't is dropped.
func TestPackUnreadableInPart(t *testing.T) {
	bubble(t, func(w *world) {
		w.handle("n", takes(time.Second))
		w.start(2)
		w.publish([]byte(`{"v":2,"pool":"default","tasks":[{"flow":"f","cycle":1,"uuid":"ffffffff-ffff-ffff-ffff-ffffffffffff","node":"a","attempt":1,"type":"n"},{"flow":"f"}]}`))
		w.publish([]byte(`{"v":2,"pool":"default","tasks":[{"flow":"f"},{}]}`))
		pass(2 * time.Second)
		w.counts(map[string]int{"claim": 1, "complete": 1})
		w.stop()
		w.ends()
		w.empty()
		if d := w.left("t.parked"); d == nil {
			t.Error("a message of which nothing can be read is not parked")
		}
	})
}
