package dispatch_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/dispatch"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// of returns count entries of a flow, of its cycles from first on, which is not 0.
func of(flow string, first, count int) []ledger.Entry {
	all := make([]ledger.Entry, count)
	for i := range all {
		n := first + i
		all[i] = ledger.Entry{ID: fmt.Sprintf("%s-%d", flow, n), Kind: ledger.KindReady, Attempt: ids.Attempt{Flow: ids.FlowID(flow), Cycle: int64(n), Node: "a", N: 1}}
	}
	return all
}

func (b *bench) Depth(ctx context.Context, _ string) (taskqueue.Depth, error) {
	b.mu.Lock()
	b.asked++
	ready, deaf, err, late := len(b.ready), b.deaf, b.depthErr, b.late
	b.mu.Unlock()
	time.Sleep(late)
	if deaf {
		<-ctx.Done()
		return taskqueue.Depth{}, ctx.Err()
	}
	return taskqueue.Depth{Ready: ready}, err
}

// drain takes messages out of the queue, as workers do.
func (b *bench) drain(messages int) (nodes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range min(messages, len(b.ready)) {
		nodes += len(b.ready[0])
		b.ready = b.ready[1:]
	}
	return nodes
}

func (b *bench) waits() (nodes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.ready {
		nodes += len(m)
	}
	return nodes
}

func (b *bench) offered() []string { b.mu.Lock(); defer b.mu.Unlock(); return slices.Clone(b.flows) }

// inTurns runs a dispatcher that can ask for depths.
func inTurns(t *testing.T, b *bench) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- dispatch.Run(ctx, dispatch.Config{Ledger: b, Publisher: b, Depths: b, Plans: b, Fleet: b, Source: b, Done: b.done, Epoch: 5, Prefix: "station", Log: hclog.NewNullLogger()})
	}()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return stop
}

const slots = 50

func newPool() *bench {
	b := newBench()
	b.slots, b.reads = slots, 16
	return b
}

// TestWhatFitsIsOfferedAtOnce, and nobody is asked for anything.
func TestWhatFitsIsOfferedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPool()
		inTurns(t, b)
		b.offer(of("f", 1, slots)...)
		b.settled(t, 0)
		if len(b.sent) != slots || b.asked > 0 {
			t.Errorf("sent %d messages and asked %d times", len(b.sent), b.asked)
		}
	})
}

// TestAFullWindow: nothing more is offered, however long it stays full, but for the first
// node of another flow. When the queue drains the flows take turns.
func TestAFullWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPool()
		inTurns(t, b)
		b.offer(of("f", 1, 1000)...)
		b.settled(t, 1000-2*slots)
		b.offer(of("g", 1, 8)...)
		b.settled(t, 1000-2*slots+7)
		<-time.After(10 * time.Second)
		b.settled(t, 1000-2*slots+7)
		if b.asked > 60 {
			t.Errorf("asked %d times in 10 seconds in which nothing drained", b.asked)
		}
		b.drain(4)
		<-time.After(time.Second)
		synctest.Wait()
		got := b.offered()
		if d := cmp.Diff([]string{"g1", "f101", "g2", "f102", "g3", "f103", "g4", "f104", "g5", "g6", "g7", "g8"}, got[2*slots:]); d != "" {
			t.Error(d)
		}
		for flow, count := range map[string]int{"f": 100, "g": 8} {
			n := 0
			for _, node := range got {
				if node == fmt.Sprintf("%s%d", flow, n+1) {
					n++
				} else if strings.HasPrefix(node, flow) {
					t.Fatalf("%s comes after %s%d", node, flow, n)
				}
			}
			if n < count {
				t.Errorf("%d nodes of %s are offered", n, flow)
			}
		}
	})
}

// TestAFlowOfFewNodesDoesNotWaitForTheWindow, however often it comes back; but many of them
// leave the large one its turns.
func TestAFlowOfFewNodesDoesNotWaitForTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPool()
		inTurns(t, b)
		b.offer(of("f", 1, 1000)...)
		for i := range slots {
			b.offer(of("g", 1+2*i, 2)...)
			b.settled(t, 1000-2*slots)
		}
		b.offer(of("h", 1, 2*slots)...)
		<-time.After(5 * time.Second)
		b.settled(t, 1000) // a window of nodes was offered without room
		held := len(b.offered())
		b.drain(2 * slots)
		<-time.After(time.Second)
		synctest.Wait()
		later := strings.Join(b.offered()[held:], " ")
		if !strings.Contains(later, "f101") || !strings.Contains(later, "h1") {
			t.Errorf("when there is room again these are offered: %s", later)
		}
	})
}

// TestManyFlowsTakeTurns: a flow of many nodes has no more of the queue than each other.
func TestManyFlowsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPool()
		inTurns(t, b)
		b.offer(of("big", 1, 1000)...)
		for i := range 10 {
			b.offer(of(string(rune('a'+i)), 1, 20)...)
		}
		for range 200 {
			<-time.After(5 * time.Millisecond)
			b.drain(2)
		}
		synctest.Wait()
		all := b.offered()[2*slots:]
		last := 0
		for i, node := range all {
			if !strings.HasPrefix(node, "big") {
				last = i
			}
		}
		if n := len(all); n < 300 || last > 230 {
			t.Errorf("of %d nodes the last of the small flows comes as number %d", n, last)
		}
	})
}

// TestTheWindowFollowsTheWorkers: at any rate of theirs the queue is neither empty for long
// nor has more in it than they take in a moment.
func TestTheWindowFollowsTheWorkers(t *testing.T) {
	for _, rate := range []int{100, 1000, 8000} { // nodes a second
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newPool()
				inTurns(t, b)
				total := 2 * rate
				b.offer(of("f", 1, total)...)
				synctest.Wait()
				busy, starved, longest, taken, done := 0.0, 0, 0, 0, 0
				for ms := range 1000 {
					<-time.After(time.Millisecond)
					synctest.Wait()
					for busy += float64(rate) / 1000; busy >= 1; {
						n := b.drain(1)
						if n == 0 {
							starved++
							busy = 0
							break
						}
						busy -= float64(n)
						done += n
					}
					if ms > 200 {
						longest = max(longest, b.waits())
					}
					taken = done
				}
				limit := max(slots, rate*15/1000) + 16
				if longest > limit+limit/4 {
					t.Errorf("%d nodes wait in the queue, %d should", longest, limit)
				}
				if taken < rate*95/100 || starved > 50 {
					t.Errorf("the workers took %d nodes in a second and found the queue empty in %d of 1000 looks", taken, starved)
				}
			})
		})
	}
}

// TestABrokerThatDoesNotTell stops nobody for long: soon more is offered without its word,
// and in a few seconds all. When it answers again the window is back.
func TestABrokerThatDoesNotTell(t *testing.T) {
	for name, set := range map[string]func(b *bench, on bool){
		"silent": func(b *bench, on bool) { b.deaf = on },
		"refusing": func(b *bench, on bool) {
			b.depthErr = nil
			if on {
				b.depthErr = taskqueue.ErrDisconnected
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newPool()
				set(b, true)
				inTurns(t, b)
				b.offer(of("f", 1, 10_000)...)
				<-time.After(200 * time.Millisecond)
				b.settled(t, 10_000-2*slots)
				<-time.After(100 * time.Millisecond)
				b.settled(t, 10_000-4*slots)
				<-time.After(3 * time.Second)
				b.settled(t, 0)
				b.set(func() { set(b, false) })
				<-time.After(2 * time.Second)
				b.offer(of("f", 10_001, 1)...) // the broker is asked
				<-time.After(time.Second)
				b.offer(of("f", 10_002, 1000)...)
				<-time.After(10 * time.Second)
				b.settled(t, 1000)
			})
		})
	}
}

// TestAQueueThatIsGone counts as empty.
func TestAQueueThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPool()
		b.depthErr = fmt.Errorf("depth: %w", taskqueue.ErrUnroutable)
		inTurns(t, b)
		b.offer(of("f", 1, 1000)...)
		<-time.After(200 * time.Millisecond)
		b.settled(t, 0)
	})
}

// TestMessagesOfOthersCount: what another leader has left in the queue is in the way too.
func TestMessagesOfOthersCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPool()
		b.ready = slices.Repeat([][]string{{"x1"}}, 1000)
		inTurns(t, b)
		b.offer(of("f", 1, 1000)...)
		<-time.After(time.Second)
		b.settled(t, 1000-2*slots)
		b.drain(2000)
		<-time.After(time.Second)
		synctest.Wait()
		if len(b.flows) <= 2*slots {
			t.Error("nothing is offered after they are gone")
		}
	})
}

// TestNothingMoreWithoutConfirms: a queue that looks empty because the broker has not put
// anything into it yet is not filled further.
func TestNothingMoreWithoutConfirms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPool()
		b.manual = true
		inTurns(t, b)
		b.offer(of("f", 1, 3000)...)
		for range 100 {
			<-time.After(5 * time.Millisecond)
			b.drain(1000)
		}
		synctest.Wait()
		if n := len(b.flows); n < 4*slots || n > 3000 {
			t.Errorf("%d nodes are offered", n)
		}
	})
}

// TestALeaderThatIsDeposedOffersNothingThatItHeldBack.
func TestALeaderThatIsDeposedOffersNothingThatItHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPool()
		held := 0
		done := make(chan error, 1)
		go func() {
			done <- dispatch.Run(t.Context(), dispatch.Config{Ledger: b, Publisher: b, Depths: b, Plans: b, Fleet: b, Source: b, Done: b.done, Epoch: 5,
				Trusted: func() bool { return false }, Log: hclog.NewNullLogger(), HeldBack: func(n int) { held += n }})
		}()
		b.offer(of("f", 1, 1000)...)
		<-time.After(time.Second)
		sent := len(b.offered())
		b.set(func() { b.epochErr = &ledger.FencedError{Verb: "check_epoch", Own: 5, Higher: 6} })
		b.drain(1000)
		if err := <-done; !ledger.Fenced(err) || len(b.flows) != sent || held != 1000-sent || sent != 2*slots {
			t.Errorf("sent %d, then %d more, held back %d, %v", sent, len(b.flows)-sent, held, err)
		}
	})
}

// TestWhatIsHeldBackIsGivenBack when nothing may be published.
func TestWhatIsHeldBackIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPool()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- dispatch.Run(ctx, dispatch.Config{Ledger: b, Publisher: b, Depths: b, Plans: b, Fleet: b, Source: b, Done: b.done, Epoch: 5,
				Trusted: func() bool { return false }, Log: hclog.NewNullLogger()})
		}()
		b.offer(of("f", 1, 1000)...)
		<-time.After(time.Second)
		b.settled(t, 1000-2*slots)
		b.set(func() { b.epochErr = ledger.ErrUnavailable })
		b.drain(1000)
		<-time.After(time.Second)
		b.settled(t, 0)
		if len(b.flows) != 2*slots {
			t.Errorf("%d nodes are sent", len(b.flows))
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestLongNodesGoAlone, and short ones by sixteen.
func TestLongNodesGoAlone(t *testing.T) {
	for _, c := range []struct {
		rate, largest, least int // nodes a second, and in a message after a while
	}{{100, 1, 1}, {20_000, 16, 16}} {
		synctest.Test(t, func(t *testing.T) {
			b := newPool()
			inTurns(t, b)
			b.offer(of("f", 1, 2*c.rate+8000)...)
			busy := 0.0
			for range 500 {
				<-time.After(time.Millisecond)
				for busy += float64(c.rate) / 1000; busy >= 1 && b.waits() > 0; {
					busy -= float64(b.drain(1))
				}
			}
			b.set(func() { b.sent = nil })
			for range 500 {
				<-time.After(time.Millisecond)
				for busy += float64(c.rate) / 1000; busy >= 1 && b.waits() > 0; {
					busy -= float64(b.drain(1))
				}
			}
			synctest.Wait()
			largest := 0
			for _, s := range b.sent {
				largest = max(largest, strings.Count(s, " a t"))
			}
			if largest > c.largest || largest < c.least {
				t.Errorf("%d nodes a second: the largest message has %d nodes", c.rate, largest)
			}
		})
	}
}

// TestAnotherFlowDoesNotWait: while a flow has ten thousand nodes to offer, a node of another
// one is at work within 50 milliseconds. The workers have a message in each slot, and twice as many slots while no more nodes
// wait in them than they work on at once; they work on one message after the other, and in turns with them on those of one
// node. At first they are slower, and the broker's answers are late. Where a node takes 7 or 25 milliseconds of a
// slot it takes as long as two windows and what is in the slots.
func TestAnotherFlowDoesNotWait(t *testing.T) {
	for rate, limit := range map[int]int{2000: 200, 7000: 80, 12_000: 50, 20_000: 50} { // nodes a second, milliseconds
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newPool()
				b.late = 2 * time.Millisecond
				inTurns(t, b)
				b.offer(of("f", 1, 10_000)...)
				w := &crew{places: slots}
				asked := map[string]int{}
				budget, longest, worst, idle, done := 0.0, 0, "", 0, 0
				for ms := 0; done < 9000; ms++ {
					if ms%10 == 0 {
						g := of("g", 1+ms, 1)
						b.offer(g...)
						asked[fmt.Sprintf("g%d", 1+ms)] = ms
					}
					<-time.After(time.Millisecond)
					synctest.Wait()
					now := rate
					if ms < 150 && rate > 5000 {
						now = rate / 2
					}
					room := w.slots(ms > 20)
					for budget += float64(now) / 1000; budget >= 1; budget-- {
						w.receive(b, room)
						node := w.next()
						if node == "" {
							idle++
							continue
						}
						if came, there := asked[node]; there && ms-came >= longest {
							longest, worst = ms-came, node
						}
						done++
					}
				}
				t.Logf("the longest wait is %d ms, of %s; %d of %d nodes more could have been worked on", longest, worst, idle, done)
				if longest > limit {
					t.Errorf("%s waited for %d ms", worst, longest)
				}
				if idle > done/50 {
					t.Errorf("the workers had nothing to do for the time of %d nodes of %d", idle, done)
				}
			})
		})
	}
}

// crew is a worker's slots with their messages.
type crew struct {
	places int
	held   [][]string
	lone   bool // what was next last
}

// slots is how many messages may be here now.
func (w *crew) slots(ahead bool) int {
	further := 0
	for _, m := range w.held {
		further += len(m) - 1
	}
	if ahead && further <= w.places {
		return 2 * w.places
	}
	return w.places
}

func (w *crew) receive(b *bench, room int) {
	for len(w.held) < room {
		m := b.pop()
		if m == nil {
			return
		}
		w.held = append(w.held, m)
	}
}

// next takes the node that is worked on next; "" when there is none.
func (w *crew) next() string {
	if len(w.held) == 0 {
		return ""
	}
	w.lone = !w.lone
	i := max(0, slices.IndexFunc(w.held, func(m []string) bool { return (len(m) == 1) == w.lone }))
	node := w.held[i][0]
	if w.held[i] = w.held[i][1:]; len(w.held[i]) == 0 {
		w.held = slices.Delete(w.held, i, i+1)
	}
	return node
}

// pop takes the first message out of the queue; nil when there is none.
func (b *bench) pop() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ready) == 0 {
		return nil
	}
	m := b.ready[0]
	b.ready = b.ready[1:]
	return m
}
