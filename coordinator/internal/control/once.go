package control

import (
	"context"
	"errors"

	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/once"
)

// TakeOnceKey makes the key of an at-most-once node for a worker's token. Whether
// there is such a flow is not looked at: whoever holds the claim got it from the
// ledger, which may have been told of the flow later than this coordinator.
func (c *Control) TakeOnceKey(ctx context.Context, q httpapi.OnceRequest) (bool, error) {
	err := c.cfg.Once.Take(ctx, once.Key{Flow: q.Flow, Occasion: q.Occasion, Node: q.Node}, q.Token)
	var away *once.Unavailable
	switch {
	case errors.Is(err, once.ErrTaken):
		c.cfg.Log.Warn("once-key is another's", "flow", q.Flow, "node", q.Node, "token", q.Token)
		return false, nil
	case errors.As(err, &away):
		return false, &httpapi.Unavailable{What: "etcd", Cause: err}
	}
	return err == nil, err
}
