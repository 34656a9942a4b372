package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/oncekey"
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

// VerifyOptions bound Verify. Both sides are an RFC 3339 instant, or how long ago
// as "-10m"; "" leaves the side open.
type VerifyOptions struct {
	Flow     string // "" = every flow
	From, To string
}

// Verify checks the journal against the guarantees. A journal that breaks them
// is no error: look at Clean.
func (c *Client) Verify(ctx context.Context, opts VerifyOptions) (api.Proof, error) {
	var out api.Proof
	k := call{method: http.MethodGet, path: base + "/verify", query: url.Values{}}
	if opts.Flow != "" {
		if _, err := ids.ParseFlowID(opts.Flow); err != nil {
			return out, err
		}
		k.query.Set("flow", opts.Flow)
	}
	if opts.From != "" {
		k.query.Set("from", opts.From)
	}
	if opts.To != "" {
		k.query.Set("to", opts.To)
	}
	err := c.do(ctx, k, &out)
	return out, err
}

// JournalOptions bound Journal.
type JournalOptions struct {
	Flow  string // "" = every flow
	From  string // an RFC 3339 instant, or how long ago as "-10m"; "" = the oldest record
	After string // id of a record; From is not looked at then
	Limit int    // 1 to 1000; 1000 when 0
}

// Journal returns a page of the journal, oldest first. Next of the answer is After
// of the following page; "" at the journal's end.
func (c *Client) Journal(ctx context.Context, opts JournalOptions) (api.Journal, error) {
	var out api.Journal
	k := call{method: http.MethodGet, path: base + "/journal", query: url.Values{}}
	if opts.Flow != "" {
		if _, err := ids.ParseFlowID(opts.Flow); err != nil {
			return out, err
		}
		k.query.Set("flow", opts.Flow)
	}
	for name, value := range map[string]string{"from": opts.From, "after": opts.After} {
		if value != "" {
			k.query.Set(name, value)
		}
	}
	if opts.Limit > 0 {
		k.query.Set("limit", strconv.Itoa(opts.Limit))
	}
	err := c.do(ctx, k, &out)
	return out, err
}

// TransferLeader is TransferPartition of partition 0, the only one unless there are
// several.
func (c *Client) TransferLeader(ctx context.Context, here bool) (api.Transfer, error) {
	return c.TransferPartition(ctx, 0, here)
}

// TransferPartition hands the leadership of a partition over to a standby and returns
// the one that ended. here asks only the coordinator that gets the call; otherwise it
// passes the call on to the leader. *Problem with status 409 when there is no standby,
// 404 when there is no such partition.
func (c *Client) TransferPartition(ctx context.Context, partition int, here bool) (api.Transfer, error) {
	k := call{method: http.MethodPost, path: base + "/leader/transfer", query: url.Values{}, once: true}
	if here {
		k.query.Set("here", "true")
	}
	if partition != 0 {
		k.query.Set("partition", strconv.Itoa(partition))
	}
	var out api.Transfer
	err := c.do(ctx, k, &out)
	return out, err
}

// TakeOnceKey asks for the once-key of an at-most-once node: the answer is
// oncekey.Granted or oncekey.Taken. Asking again is harmless.
func (c *Client) TakeOnceKey(ctx context.Context, q oncekey.Request) (oncekey.Reply, error) {
	var out oncekey.Reply
	b, err := json.Marshal(q)
	if err != nil {
		return out, fmt.Errorf("encode request: %w", err)
	}
	err = c.do(ctx, call{method: http.MethodPost, path: oncekey.Path, header: http.Header{"Content-Type": {"application/json"}}, body: b}, &out)
	return out, err
}

// Ready asks whether a coordinator may be used. One that may not gives
// *Problem with status 503 and a fault for each server it can't reach.
func (c *Client) Ready(ctx context.Context) (api.Readiness, error) {
	var out api.Readiness
	err := c.do(ctx, call{method: http.MethodGet, path: "/readyz"}, &out)
	return out, err
}
