package intake_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/shared/expr"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/shared/taskqueue/inproc"
	"github.com/tradingflow/weather-station/worker/internal/attempt"
	"github.com/tradingflow/weather-station/worker/internal/intake"
	"github.com/tradingflow/weather-station/worker/internal/settle"
	"github.com/tradingflow/weather-station/worker/node"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	queue = "t.pool.default"
	grace = 30 * time.Second
)

// world is an intake inside a bubble, over a queue in memory, with a ledger and
// a keeper of claims that do as they are told and write down what was asked.
type world struct {
	t      *testing.T
	broker *inproc.Broker
	reg    *node.Registry
	once   bool                                                  // nodes are at-most-once
	keys   func(ctx context.Context, stop <-chan struct{}) error // answers for once-keys; nil = granted
	next   func(ledger.Completion, ledger.Next) []ledger.Claim   // answers the wish for successors; nil = none is granted
	heirs  []plan.Successor                                      // of every node
	source intake.Source
	killed chan struct{}

	queueOnly bool

	text strings.Builder // the log; read it when intake has ended

	mu    sync.Mutex
	err   error  // of every call while set,
	only  string // or of those of this verb
	calls []string
	lose  []context.CancelCauseFunc // one per claim held
	said  []string                  // what was written down, without calls that failed

	stop context.CancelFunc
	done chan error
}

// bubble runs a test in a world of one slot.
func bubble(t *testing.T, test func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, broker: inproc.New("t"), reg: node.NewRegistry(), done: make(chan error, 1), killed: make(chan struct{})}
		w.source = w.broker.Consumer()
		defer w.broker.Close()
		test(w)
	})
}

func (w *world) start(slots int) {
	ctx, cancel := context.WithCancel(w.t.Context())
	w.stop = cancel
	log := hclog.New(&hclog.LoggerOptions{Output: &w.text})
	ahead, _ := w.source.(intake.Ahead)
	go func() {
		w.done <- intake.Run(ctx, intake.Config{
			Ahead:  ahead,
			Ledger: w, Source: w.source, Claims: w, Once: w, Registry: w.reg, Queue: queue, Worker: "w", Slots: slots, Lease: 10 * time.Second,
			EarlyAck: 10 * time.Minute, Grace: grace, Killed: w.killed, Log: log, QueueOnly: w.queueOnly, Brief: time.Millisecond,
			Settler: &settle.Settler{Ledger: w, Log: log},
			Runner:  &attempt.Runner{Log: log, Programs: expr.NewCache(0)},
		})
	}()
}

// ends waits for the end of intake and returns how long that took.
func (w *world) ends() time.Duration {
	w.t.Helper()
	began := time.Now()
	select {
	case err := <-w.done:
		if err != nil {
			w.t.Errorf("intake: %v", err)
		}
	case <-time.After(time.Hour):
		w.t.Fatal("intake does not end")
	}
	return time.Since(began)
}

func (w *world) handle(nodeType string, h node.HandlerFunc) { w.reg.Handle(nodeType, h) }

func (w *world) publish(body []byte) {
	w.t.Helper()
	if _, err := w.broker.Publisher().Publish(w.t.Context(), queue, "id", body); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) offer(nodeType string) {
	w.publish(task.Task{Attempt: ids.Attempt{Flow: "f", Cycle: 1, UUID: uuid.Max, Node: ids.NodeID(nodeType), N: 1}, Type: nodeType, Pool: "default"}.Encode())
}

func (w *world) away(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

// loses ends every attempt that runs, as a keeper of claims does.
func (w *world) loses(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, lose := range w.lose {
		lose(cause)
	}
}

// log requires what was written down so far.
func (w *world) log(want ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.said, want) {
		w.t.Errorf("the ledger heard %q, want %q", w.said, want)
	}
}

func (w *world) asked(verb string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, c := range w.calls {
		if c == verb {
			n++
		}
	}
	return n
}

// left returns the message that waits in the queue, or nil; it takes it away.
func (w *world) left(name string) taskqueue.Delivery {
	w.t.Helper()
	s, err := w.broker.Consumer().Slot(name)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
	defer cancel()
	d, err := s.Receive(ctx)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		w.t.Fatal(err)
	}
	if d != nil {
		if err := d.Ack(); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		w.t.Fatal(err)
	}
	return d
}

// empty requires that no message is left.
func (w *world) empty() {
	w.t.Helper()
	if d := w.left(queue); d != nil {
		w.t.Errorf("a message is left: %s", d.Body())
	}
}

// back requires that the message was handed back.
func (w *world) back() {
	w.t.Helper()
	if d := w.left(queue); d == nil || !d.Redelivered() {
		w.t.Errorf("the message was not handed back: %v", d)
	}
}

func pass(d time.Duration) { <-time.After(d); synctest.Wait() }

func (w *world) hear(verb, text string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, verb)
	if w.err != nil && (w.only == "" || w.only == verb) {
		return w.err
	}
	w.said = append(w.said, verb+text)
	return nil
}

func (w *world) Claim(_ context.Context, q ledger.ClaimRequest) (ledger.Claim, ledger.Refusal, error) {
	if err := w.hear("claim", ""); err != nil {
		return ledger.Claim{}, ledger.Over, err
	}
	n := plan.Node{ID: q.Node, Timeout: time.Hour, Delivery: plan.AtLeastOnce, Successors: w.heirs}
	if w.once {
		n.Delivery = plan.AtMostOnce
	}
	return ledger.Claim{Attempt: q.Attempt, Token: q.Token, Node: n}, ledger.Granted, nil
}

func (w *world) Decline(context.Context, ids.Attempt, ids.WorkerID, time.Duration) error {
	return w.hear("decline", "")
}

func (w *world) CompleteNext(_ context.Context, c ledger.Completion, q ledger.Next) ([]ledger.Claim, error) {
	if err := w.hear("complete", " "+string(c.Status)); err != nil || w.next == nil {
		return nil, err
	}
	return w.next(c, q), nil
}

func (w *world) Fail(_ context.Context, f ledger.Failure) (ledger.Failed, error) {
	return ledger.Failed{}, w.hear("fail", fmt.Sprintf(" %s: %s", f.Class, f.Error))
}

func (w *world) Release(ctx context.Context, _ ids.Attempt, _ uuid.UUID, _ bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return w.hear("release", "")
}

func (w *world) Take(ctx context.Context, c ledger.Claim, stop <-chan struct{}) error {
	if c.Node.Delivery != plan.AtMostOnce {
		w.t.Error("a once-key was asked for a node that may run twice")
	}
	if w.keys == nil {
		return nil
	}
	return w.keys(ctx, stop)
}

func (w *world) EndUnknown(_ context.Context, d ledger.Doubt) error {
	return w.hear("unknown", " "+d.Why)
}

func (w *world) Hold(ctx context.Context, _ ids.Attempt, _ uuid.UUID, _ time.Time) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lose = append(w.lose, cancel)
	return ctx, func() { cancel(nil) }
}
