package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/shared/ids"
)

// StartCycle starts a cycle of a flow now. The same key for the same flow
// gives the same cycle again; "" = a key of this call alone.
func (c *Client) StartCycle(ctx context.Context, flow, key string) (api.CycleSummary, error) {
	return c.start(ctx, flow, key, nil)
}

// RunCycle is StartCycle that answers when the cycle has ended, or with the cycle
// as it stands when it has not ended within wait, at most a minute. The time-out of
// the client has to be longer. Called again with the same key it waits on.
func (c *Client) RunCycle(ctx context.Context, flow, key string, wait time.Duration) (api.CycleSummary, error) {
	return c.start(ctx, flow, key, url.Values{"wait_seconds": {strconv.FormatFloat(wait.Seconds(), 'f', 3, 64)}})
}

func (c *Client) start(ctx context.Context, flow, key string, query url.Values) (api.CycleSummary, error) {
	var out api.CycleSummary
	path, err := flowPath(flow)
	if err != nil {
		return out, err
	}
	if key == "" {
		key = uuid.NewString()
	}
	err = c.do(ctx, call{method: http.MethodPost, path: path + "/cycles", query: query, header: http.Header{"Idempotency-Key": {key}}}, &out)
	return out, err
}

// Cycles returns at most limit cycles of a flow, newest first; only those
// numbered below before. Zero for either = the server's default, no bound.
func (c *Client) Cycles(ctx context.Context, flow string, limit int, before int64) (api.CycleList, error) {
	var out api.CycleList
	path, err := flowPath(flow)
	if err != nil {
		return out, err
	}
	q := url.Values{}
	if limit != 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	if before != 0 {
		q.Set("before", strconv.FormatInt(before, 10))
	}
	err = c.do(ctx, call{method: http.MethodGet, path: path + "/cycles", query: q}, &out)
	return out, err
}

// Cycle returns a cycle with its nodes.
func (c *Client) Cycle(ctx context.Context, flow string, cycle int64) (api.Cycle, error) {
	return onFlow[api.Cycle](ctx, c, http.MethodGet, flow, cyclePath(cycle))
}

// CancelCycle cancels a cycle and returns it as it stands afterwards.
func (c *Client) CancelCycle(ctx context.Context, flow string, cycle int64) (api.CycleSummary, error) {
	var out api.CycleSummary
	path, err := flowPath(flow)
	if err != nil {
		return out, err
	}
	err = c.do(ctx, call{method: http.MethodPost, path: path + cyclePath(cycle) + "/cancel", once: true}, &out)
	return out, err
}

// Node returns a node of a cycle with its inputs and outputs.
func (c *Client) Node(ctx context.Context, flow string, cycle int64, node string) (api.Node, error) {
	id, err := ids.ParseNodeID(node)
	if err != nil {
		return api.Node{}, err
	}
	return onFlow[api.Node](ctx, c, http.MethodGet, flow, cyclePath(cycle)+"/nodes/"+string(id))
}

func cyclePath(cycle int64) string { return "/cycles/" + strconv.FormatInt(cycle, 10) }
