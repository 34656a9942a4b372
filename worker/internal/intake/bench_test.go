package intake_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/expr"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/worker/internal/attempt"
	"github.com/tradingflow/weather-station/worker/internal/claims"
	"github.com/tradingflow/weather-station/worker/internal/intake"
	"github.com/tradingflow/weather-station/worker/internal/settle"
	"github.com/tradingflow/weather-station/worker/node"
)

// willing is a ledger that grants and takes everything.
type willing struct{ node plan.Node }

func (w willing) Claim(_ context.Context, q ledger.ClaimRequest) (ledger.Claim, ledger.Refusal, error) {
	return ledger.Claim{Attempt: q.Attempt, Token: q.Token, Node: w.node, Values: make([]json.RawMessage, len(w.node.Inputs))}, ledger.Granted, nil
}
func (willing) Decline(context.Context, ids.Attempt, ids.WorkerID, time.Duration) error { return nil }
func (willing) CompleteNext(context.Context, ledger.Completion, ledger.Next) ([]ledger.Claim, error) {
	return nil, nil
}
func (willing) Fail(_ context.Context, f ledger.Failure) (ledger.Failed, error) {
	return ledger.Failed{}, fmt.Errorf("%s failed: %s", f.Node, f.Error)
}
func (willing) Release(context.Context, ids.Attempt, uuid.UUID, bool) error { return nil }
func (willing) EndUnknown(context.Context, ledger.Doubt) error              { return nil }
func (willing) Heed(context.Context, int) (bool, error)                     { return true, nil }

// supply is a source that has the same message again and again.
type supply struct {
	body []byte
	take chan struct{} // a message may be taken
	done chan struct{} // one is ended
}

func (s *supply) Slot(string) (taskqueue.Slot, error) { return s, nil }
func (s *supply) Receive(ctx context.Context) (taskqueue.Delivery, error) {
	select {
	case <-s.take:
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
func (s *supply) AckEarly(context.Context, taskqueue.Delivery) error { return nil }
func (s *supply) Close() error                                       { return nil }
func (s *supply) Body() []byte                                       { return s.body }
func (s *supply) Redelivered() bool                                  { return false }
func (s *supply) Ack() error                                         { s.done <- struct{}{}; return nil }
func (s *supply) Park() error                                        { return nil }
func (s *supply) Requeue() error                                     { return nil }

// BenchmarkTask is what a worker does for a task besides waiting for the ledger and the
// queue: a node with one input and one successor, alone in its message or with others.
func BenchmarkTask(b *testing.B) {
	for _, pack := range []int{1, 8} {
		b.Run(fmt.Sprintf("pack=%d", pack), func(b *testing.B) {
			b.ReportAllocs()
			log := hclog.New(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Info})
			w := willing{plan.Node{ID: "n", Type: "n", Parameters: json.RawMessage(`{"duration":0}`), Timeout: time.Minute, Delivery: plan.AtLeastOnce,
				Inputs:     []plan.Input{{}},
				Successors: []plan.Successor{{Target: "m", InDegree: 1, Plain: true, Edges: []plan.Edge{{SourceHandle: plan.DefaultHandle}}}}}}
			tasks := make([]task.Task, pack)
			for i := range tasks {
				tasks[i] = task.Task{Attempt: ids.Attempt{Flow: "flow", Cycle: 1, UUID: uuid.Max, Node: "n", N: 1}, Type: "n", Pool: "default"}
			}
			reg := node.NewRegistry()
			reg.Handle("n", node.HandlerFunc(func(_ context.Context, in *node.Input) (node.Result, error) {
				var p struct{ Duration float64 }
				return node.Result{}, in.Bind(&p)
			}))
			src := &supply{task.EncodePack(tasks), make(chan struct{}, 1000), make(chan struct{}, 1000)}
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() {
				ended <- intake.Run(ctx, intake.Config{
					Ledger: w, Partitions: w, Source: src, Claims: claims.NewKeeper(claims.Config{Ledger: nil, Worker: "w", Lease: time.Hour, Log: log}),
					Registry: reg, Queue: queue, Worker: "w", Slots: 16, Lease: time.Hour, EarlyAck: time.Minute, Log: log,
					Settler: &settle.Settler{Ledger: w, Log: log},
					Runner:  &attempt.Runner{Log: log, Programs: expr.NewCache(0)},
				})
			}()
			b.ResetTimer()
			go func() {
				for i := 0; i < b.N; i += pack {
					src.take <- struct{}{}
				}
			}()
			for i := 0; i < b.N; i += pack {
				<-src.done
			}
			b.StopTimer()
			stop()
			if err := <-ended; err != nil {
				b.Fatal(err)
			}
		})
	}
}
