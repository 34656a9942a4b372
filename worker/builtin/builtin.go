// Package builtin holds the node types that every worker carries: one file
// each. They are written against package node alone, as the types of a user
// are.
//
// All of them bind their parameters strictly, so that a misspelt parameter is
// a permanent error that names it. Errors that the same inputs bring back on
// every attempt are permanent; errors of the world outside are left to the
// node's retry policy.
package builtin

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/expr"
	"github.com/tradingflow/weather-station/shared/nodetype"
	"github.com/tradingflow/weather-station/worker/node"
)

// Config is what the built-in types may touch on this worker.
type Config struct {
	// DataDir is the folder that dataset_input, dataset_output and exec work
	// in. Without one they fail permanently.
	DataDir string
	// AllowExec registers the exec type, which runs programs.
	AllowExec bool
	// AllowPrivateHTTP lets http reach loopback, private and link-local
	// addresses.
	AllowPrivateHTTP bool
	// Log takes what no attempt owns. Nil means nothing is logged.
	Log hclog.Logger
}

// Register adds the built-in node types to reg.
func Register(reg *node.Registry, cfg Config) {
	if cfg.Log == nil {
		cfg.Log = hclog.NewNullLogger()
	}
	log := cfg.Log.Named("builtin")
	programs := expr.NewCache(0)
	reg.Handle(nodetype.DatasetInput, newDatasetInput(cfg.DataDir))
	reg.Handle(nodetype.DatasetOutput, newDatasetOutput(cfg.DataDir, log))
	reg.Handle(nodetype.Transform, &transform{programs})
	reg.Handle(nodetype.Condition, &condition{programs})
	reg.Handle(nodetype.HTTP, newHTTP(cfg.AllowPrivateHTTP))
	reg.Handle(nodetype.Delay, node.HandlerFunc(runDelay))
	reg.Handle(nodetype.Log, node.HandlerFunc(runLog))
	reg.Handle(nodetype.Fail, node.HandlerFunc(runFail))
	if cfg.AllowExec {
		reg.Handle(nodetype.Exec, &execNode{dataDir: cfg.DataDir})
	}
}

// common are the parameters that every type tolerates: clients of the original
// put the type's name among them.
type common struct {
	NodeClassType json.RawMessage `json:"node_class_type,omitempty"`
}

// bind decodes the parameters into v. A fault is permanent.
func bind(in *node.Input, v any) error { return node.Permanent(in.Bind(v)) }

// span is a duration parameter: "1.5s", or a number of seconds.
type span time.Duration

func (s *span) UnmarshalJSON(raw []byte) error {
	var text string
	var seconds float64
	if json.Unmarshal(raw, &seconds) == nil {
		if !(seconds >= 0 && seconds <= 1e9) {
			return fmt.Errorf("%s seconds is not a duration", raw)
		}
		*s = span(seconds * float64(time.Second))
		return nil
	}
	if err := json.Unmarshal(raw, &text); err != nil {
		return fmt.Errorf("duration %s: write it like %q or as a number of seconds", raw, "1.5s")
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return fmt.Errorf("duration %q: write it like %q or as a number of seconds", text, "1.5s")
	}
	*s = span(d)
	return nil
}

func permanentf(format string, args ...any) error {
	return node.Permanent(fmt.Errorf(format, args...))
}
