package attempt_test

import (
	"bytes"
	"context"
	"log"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/expr"
	"github.com/tradingflow/weather-station/shared/plan"
	"github.com/tradingflow/weather-station/worker/internal/attempt"
	"github.com/tradingflow/weather-station/worker/node"
)

// TestHandlersLogNamesTheAttempt, whichever way it is used, and by whoever at once.
func TestHandlersLogNamesTheAttempt(t *testing.T) {
	var text bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Output: &text, Mutex: &sync.Mutex{}, Level: hclog.Trace, Name: "worker"})
	ways := map[string]func(l hclog.Logger){
		"log":             func(l hclog.Logger) { l.Log(hclog.Info, "said") },
		"trace":           func(l hclog.Logger) { l.Trace("said") },
		"debug":           func(l hclog.Logger) { l.Debug("said") },
		"info":            func(l hclog.Logger) { l.Info("said") },
		"warn":            func(l hclog.Logger) { l.Warn("said") },
		"error":           func(l hclog.Logger) { l.Error("said") },
		"with":            func(l hclog.Logger) { l.With("x", 1).Info("said") },
		"named":           func(l hclog.Logger) { l.Named("sub").Info("said") },
		"reset named":     func(l hclog.Logger) { l.ResetNamed("own").Info("said") },
		"standard logger": func(l hclog.Logger) { l.StandardLogger(nil).Print("said") },
		"standard writer": func(l hclog.Logger) { standard(l).Print("said") },
	}
	for name, way := range ways {
		text.Reset()
		h := node.HandlerFunc(func(_ context.Context, in *node.Input) (node.Result, error) {
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() { way(in.Log) })
			}
			all.Wait()
			if in.Log.Name() != "worker" || !in.Log.IsTrace() || in.Log.GetLevel() != hclog.Trace || len(in.Log.ImpliedArgs()) != 8 {
				t.Errorf("%s: the logger is %s, %s, %v", name, in.Log.Name(), in.Log.GetLevel(), in.Log.ImpliedArgs())
			}
			return node.Result{}, nil
		})
		(&attempt.Runner{Log: log, Programs: expr.NewCache(0)}).Run(t.Context(), claim(plan.Node{ID: "n"}), h)
		if n := strings.Count(text.String(), "said: attempt=1 cycle=1 flow=f node=n"); n != 4 {
			t.Errorf("%s: %d of 4 lines name the attempt:\n%s", name, n, &text)
		}
	}
}

func standard(l hclog.Logger) *log.Logger {
	return log.New(l.StandardWriter(&hclog.StandardLoggerOptions{}), "", 0)
}
