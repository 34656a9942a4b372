package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/shared/ids"
)

const base = "/api/v1"

// RegisterOptions say how a document is to be read.
type RegisterOptions struct {
	FlowID            string // for a spelling that carries no id
	Interval          string // for a spelling that carries no interval, as "30s"
	AllowUnknownTypes bool   // accept node types that no worker carries
	ValidateOnly      bool   // store nothing
	ContentType       string // "" = the server finds out whether it is JSON or YAML
}

// Register stores a flow document, JSON or YAML in any accepted spelling, as
// the flow's new revision. An equal document changes nothing. A document with
// faults gives *Problem with status 400 and all of them.
func (c *Client) Register(ctx context.Context, document []byte, opts RegisterOptions) (api.Registered, error) {
	k := call{method: http.MethodPost, path: base + "/flows", body: document, query: url.Values{}, header: http.Header{}}
	k.header.Set("Content-Type", "text/plain")
	if opts.ContentType != "" {
		k.header.Set("Content-Type", opts.ContentType)
	}
	if opts.FlowID != "" {
		k.query.Set("flow_id", opts.FlowID)
	}
	if opts.Interval != "" {
		k.query.Set("interval", opts.Interval)
	}
	if opts.AllowUnknownTypes {
		k.query.Set("allow_unknown_types", "true")
	}
	if opts.ValidateOnly {
		k.query.Set("validate_only", "true")
	}
	var out api.Registered
	err := c.do(ctx, k, &out)
	return out, err
}

// Flows returns every flow, ordered by id.
func (c *Client) Flows(ctx context.Context) ([]api.FlowSummary, error) {
	var out api.FlowList
	err := c.do(ctx, call{method: http.MethodGet, path: base + "/flows"}, &out)
	return out.Flows, err
}

// Flow returns a flow's status and definition.
func (c *Client) Flow(ctx context.Context, flow string) (api.FlowStatus, error) {
	return onFlow[api.FlowStatus](ctx, c, http.MethodGet, flow, "")
}

// DeleteFlow deletes a flow with its cycles.
func (c *Client) DeleteFlow(ctx context.Context, flow string) error {
	path, err := flowPath(flow)
	if err != nil {
		return err
	}
	return c.do(ctx, call{method: http.MethodDelete, path: path, once: true}, nil)
}

// PauseFlow holds a flow and returns it as it stands afterwards.
func (c *Client) PauseFlow(ctx context.Context, flow string) (api.FlowStatus, error) {
	return onFlow[api.FlowStatus](ctx, c, http.MethodPost, flow, "/pause")
}

// ResumeFlow releases a paused flow and returns it as it stands afterwards.
func (c *Client) ResumeFlow(ctx context.Context, flow string) (api.FlowStatus, error) {
	return onFlow[api.FlowStatus](ctx, c, http.MethodPost, flow, "/resume")
}

// Metrics returns a flow's execution metrics over its last ended cycles.
func (c *Client) Metrics(ctx context.Context, flow string) (api.Metrics, error) {
	return onFlow[api.Metrics](ctx, c, http.MethodGet, flow, "/metrics")
}

// flowPath returns the path of a flow. Errors are *ids.Error.
func flowPath(flow string) (string, error) {
	id, err := ids.ParseFlowID(flow)
	if err != nil {
		return "", err
	}
	return base + "/flows/" + string(id), nil
}

func onFlow[T any](ctx context.Context, c *Client, method, flow, rest string) (T, error) {
	var out T
	path, err := flowPath(flow)
	if err != nil {
		return out, err
	}
	err = c.do(ctx, call{method: method, path: path + rest}, &out)
	return out, err
}
