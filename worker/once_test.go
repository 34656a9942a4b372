package worker_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/oncekey"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/worker/node"
)

// keys is a coordinator as far as once-keys go.
type keys struct {
	url string

	mu    sync.Mutex
	down  bool
	taken map[oncekey.Request]string // by the request without its token
	asked chan struct{}
}

func serveKeys(t *testing.T) *keys {
	k := &keys{taken: map[oncekey.Request]string{}, asked: make(chan struct{}, 1000)}
	srv := httptest.NewServer(http.HandlerFunc(k.answer))
	t.Cleanup(srv.Close)
	k.url = srv.URL
	return k
}

func (k *keys) answer(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked <- struct{}{}
	var q oncekey.Request
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.URL.Path != oncekey.Path || r.Method != http.MethodPost {
		http.Error(w, "bad", http.StatusBadRequest)
		return
	}
	if k.down {
		http.Error(w, `{"code":"unavailable"}`, http.StatusServiceUnavailable)
		return
	}
	token := q.Token
	q.Token = ""
	if k.taken[q] == "" {
		k.taken[q] = token
	}
	reply := oncekey.Reply{Answer: oncekey.Taken}
	if k.taken[q] == token {
		reply.Answer = oncekey.Granted
	}
	_ = json.NewEncoder(w).Encode(reply) // the worker asks again if it fails
}

func (k *keys) set(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
}

// TestOnceKey: Redis forgets the claim of an at-most-once node that runs. The next
// worker is granted the claim, meets the once-key and ends the node unknown.
func TestOnceKey(t *testing.T) {
	c := newCluster(t, plan.Node{ID: "a", Type: "order", Delivery: plan.AtMostOnce})
	ran, finish := make(chan string, 10), make(chan struct{})
	c.handle("order", func(_ context.Context, in *node.Input) (node.Result, error) {
		ran <- string(in.Node)
		<-finish
		return node.Result{}, nil
	})
	c.work("w1", time.Second)
	<-ran
	before := c.node("a").Token
	key := "station:flow:f:cycle:1:node:a:state"
	c.redis.HSet(key, "status", "ready") // as Redis had it before the claim
	c.redis.HDel(key, "token")
	c.offer(t.Context(), ids.Attempt{Flow: flow, Cycle: c.cycle.Cycle, UUID: c.cycle.UUID, Node: "a", N: 1})
	s := c.reaches("a", task.Unknown)
	close(finish)
	if s.ErrorClass != "once" || !strings.Contains(s.Error, "once-key") || s.Token == before {
		t.Errorf("a: %+v; the first token was %s", s, before)
	}
	c.until("the cycle has ended", func() bool {
		state, err := c.ledger.Cycle(t.Context(), flow, c.cycle.Cycle)
		return err == nil && state.Ended()
	})
	if len(ran) > 0 {
		t.Error("the node was started again")
	}
}

// TestNoCoordinator: while nobody gives the once-key the node waits and says so;
// then it runs.
func TestNoCoordinator(t *testing.T) {
	c := newCluster(t, plan.Node{ID: "a", Type: "order", Delivery: plan.AtMostOnce})
	c.keys.set(func() { c.keys.down = true })
	ran := make(chan struct{}, 10)
	c.handle("order", func(context.Context, *node.Input) (node.Result, error) { ran <- struct{}{}; return node.Result{}, nil })
	c.work("w1", time.Second)
	for range 5 {
		<-c.keys.asked
	}
	c.until("the node says what it waits for", func() bool { return c.node("a").Blocker == "once_key" })
	if len(ran) > 0 {
		t.Error("it ran without its key")
	}
	c.keys.set(func() { c.keys.down = false })
	s := c.reaches("a", task.Succeeded)
	if len(ran) != 1 || s.Attempt != 1 || s.Blocker != "" {
		t.Errorf("ran %d times: %+v", len(ran), s)
	}
}

// TestDrainBeforeTheKey: a worker that stops while it waits for a once-key hands
// the node back at once, and the next one runs it.
func TestDrainBeforeTheKey(t *testing.T) {
	c := newCluster(t, plan.Node{ID: "a", Type: "order", Delivery: plan.AtMostOnce})
	c.keys.set(func() { c.keys.down = true })
	ran := make(chan int, 10)
	c.handle("order", func(_ context.Context, in *node.Input) (node.Result, error) {
		ran <- in.Attempt
		return node.Result{}, nil
	})
	first := c.work("w1", time.Hour)
	<-c.keys.asked
	first.stop()
	c.drain(first)
	if s := c.node("a"); s.Attempt != 2 || s.Status == task.Running {
		t.Errorf("a: %+v", s)
	}
	c.keys.set(func() { c.keys.down = false })
	c.work("w2", time.Second)
	c.reaches("a", task.Succeeded)
	if n := <-ran; n != 2 || len(ran) > 0 {
		t.Errorf("it ran as attempt %d, and %d times more", n, len(ran))
	}
}
