// Package control carries out what users ask of flows and cycles, on any
// coordinator, leading or not. Registering, pausing and deleting are written to
// etcd first, so that a 2xx survives the loss of Redis, and to the ledger before
// the answer, so that they hold when the call returns. Starting and cancelling
// cycles are guarded scripts of the ledger that need no epoch: the guard is the
// flow's and the cycle's own state.
package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/catalog"
	"github.com/tradingflow/weather-station/coordinator/internal/election"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/once"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// Depths tells how many messages wait in a queue.
type Depths interface {
	Depth(ctx context.Context, queue string) (taskqueue.Depth, error)
}

// Election tells who leads.
type Election interface {
	Leader(ctx context.Context) (election.Leader, error)
	Members(ctx context.Context) ([]election.Candidate, error)
}

// Config of a Control.
type Config struct {
	Parts     []Part // by their numbers
	Catalog   *catalog.Catalog
	Registry  *registry.Registry
	Once      *once.Store
	Depths    Depths
	Endings   *Endings // told by the leader of this process
	Prefix    string
	ID        string // of this coordinator
	CheckExpr func(expr string) error
	Ready     func(ctx context.Context) []api.Dependency
	Log       hclog.Logger
}

// Control implements httpapi.Service.
type Control struct{ cfg Config }

var _ httpapi.Service = (*Control)(nil)

// New makes a control.
func New(cfg Config) *Control {
	if cfg.Endings == nil {
		cfg.Endings = &Endings{}
	}
	return &Control{cfg: cfg}
}

// settle is how long a call waits for something that is under way already: an
// earlier flow being removed, a revision being installed.
const settle = 5 * time.Second

// translate turns the errors of the stores into those the API answers by.
func translate(err error, what string) error {
	var away *catalog.Unavailable
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ledger.ErrGone), errors.Is(err, catalog.ErrNotFound):
		return &httpapi.NotFound{What: what}
	case errors.Is(err, ledger.ErrDeleting):
		return &httpapi.Conflict{Code: "deleting", Detail: what + " is being deleted; try again in a moment"}
	case errors.Is(err, ledger.ErrPaused):
		return &httpapi.Conflict{Code: "paused", Detail: what + " is paused; resume it first"}
	case errors.Is(err, ledger.ErrNoPlan): // an earlier flow of that id took it along, time and again
		return &httpapi.Conflict{Code: "deleting", Detail: what + " is being deleted; try again in a moment"}
	case errors.Is(err, catalog.ErrTooLarge):
		return &httpapi.Invalid{Code: api.CodeTooLarge, Detail: err.Error()}
	case errors.Is(err, catalog.ErrContended):
		return &httpapi.Conflict{Code: "contended", Detail: what + " is being changed by others; try again"}
	case errors.Is(err, ledger.ErrUnavailable):
		return &httpapi.Unavailable{What: "redis", Cause: err}
	case errors.As(err, &away):
		return &httpapi.Unavailable{What: "etcd", Cause: err}
	}
	return err
}

func flowName(f ids.FlowID) string { return fmt.Sprintf("flow %q", string(f)) }

func cycleName(f ids.FlowID, n int64) string { return fmt.Sprintf("cycle %d of flow %q", n, string(f)) }

// get returns a flow from memory, or from etcd when another coordinator may have
// registered it a moment ago.
func (c *Control) get(ctx context.Context, f ids.FlowID) (*registry.Flow, error) {
	if found := c.cfg.Registry.Get(f); found != nil {
		return found, nil
	}
	if _, err := c.cfg.Catalog.GetFresh(ctx, f); err != nil {
		return nil, translate(err, flowName(f))
	}
	c.cfg.Registry.Refresh(f)
	if found := c.cfg.Registry.Get(f); found != nil {
		return found, nil
	}
	return nil, &httpapi.NotFound{What: flowName(f)}
}

// again repeats do while it fails with one of these errors, up to settle.
func again(ctx context.Context, do func() error, while ...error) error {
	passing := func(err error) bool {
		return slices.ContainsFunc(while, func(w error) bool { return errors.Is(err, w) })
	}
	err := do()
	if !passing(err) { // nearly always; a timer that nobody needs costs as much as the call
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	t := time.NewTicker(25 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return err
		}
		if err = do(); !passing(err) {
			return err
		}
	}
}
