package fleet_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/fleet"
	"github.com/tradingflow/weather-station/coordinator/internal/presence"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// body is a worker's process as it is dialled.
type body struct {
	died  chan struct{}
	dials int
}

func (b *body) hold(name string) presence.Hold {
	return func(ctx context.Context) (string, error) {
		b.dials++
		select {
		case <-b.died:
			return "", syscall.ECONNREFUSED
		default:
		}
		select {
		case <-b.died:
			return name, errors.New("broken")
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func TestVigil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bodies := map[ids.WorkerID]*body{"a": {died: make(chan struct{})}, "b": {died: make(chan struct{})}}
		var gone []ids.WorkerID
		fault := error(nil)
		v := fleet.NewVigil(fleet.VigilConfig{Log: hclog.NewNullLogger(),
			Hold: func(w ledger.Worker) presence.Hold {
				if bodies[w.ID] == nil {
					return nil
				}
				return bodies[w.ID].hold(string(w.ID))
			},
			Gone: func(_ context.Context, w ledger.Worker) error { gone = append(gone, w.ID); return fault }})
		done := make(chan error, 1)
		go func() { done <- v.Run(t.Context()) }()
		all := []ledger.Worker{worker("a", "p"), worker("b", "p"), worker("unreachable", "p")}
		for range 3 { // told again and again, it dials once
			v.Set(all)
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		if bodies["a"].dials != 1 || bodies["b"].dials != 1 || len(gone) != 0 {
			t.Fatalf("%d and %d dials, gone: %v", bodies["a"].dials, bodies["b"].dials, gone)
		}
		close(bodies["a"].died)
		synctest.Wait()
		if len(gone) != 1 || gone[0] != "a" {
			t.Fatalf("gone: %v", gone)
		}
		again := worker("a", "p") // its record is there still, and then it is started again
		again.StartedAt = time.Now()
		bodies["a"] = &body{died: make(chan struct{})}
		v.Set([]ledger.Worker{again, all[1]})
		synctest.Wait()
		if bodies["a"].dials != 1 || len(gone) != 1 {
			t.Fatalf("the new process was dialled %d times, gone: %v", bodies["a"].dials, gone)
		}
		v.Set([]ledger.Worker{again}) // b left in good order
		synctest.Wait()
		close(bodies["b"].died)
		synctest.Wait()
		if len(gone) != 1 {
			t.Fatalf("gone: %v", gone)
		}
		fault = &ledger.FencedError{}
		close(bodies["a"].died)
		if err := <-done; !ledger.Fenced(err) {
			t.Fatalf("Run: %v", err)
		}
	})
}
