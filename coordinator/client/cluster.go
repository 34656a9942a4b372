package client

import (
	"context"
	"net/http"

	"github.com/tradingflow/weather-station/coordinator/api"
)

// Cluster returns leader, members, pools and health.
func (c *Client) Cluster(ctx context.Context) (api.Cluster, error) {
	var out api.Cluster
	err := c.do(ctx, call{method: http.MethodGet, path: base + "/cluster"}, &out)
	return out, err
}

// Workers returns the live workers, ordered by pool and id.
func (c *Client) Workers(ctx context.Context) ([]api.Worker, error) {
	var out api.WorkerList
	err := c.do(ctx, call{method: http.MethodGet, path: base + "/workers"}, &out)
	return out.Workers, err
}

// Ready asks whether a coordinator may be used. One that may not gives
// *Problem with status 503 and a fault for each server it can't reach.
func (c *Client) Ready(ctx context.Context) (api.Readiness, error) {
	var out api.Readiness
	err := c.do(ctx, call{method: http.MethodGet, path: "/readyz"}, &out)
	return out, err
}
