package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi/httpapitest"
)

// The server of the examples answers as a cluster with one flow would.
func exampleServer() *httptest.Server {
	s := httpapitest.New()
	register := s.OnRegister
	s.OnRegister = func(ctx context.Context, body []byte, opts httpapi.RegisterOptions) (api.Registered, error) {
		if string(body) == "{}" {
			return api.Registered{}, &httpapi.Invalid{Faults: []api.Fault{
				{Code: "missing", Place: "flow_id", Message: "is missing"},
				{Code: "missing", Place: "nodes", Message: "is missing"},
			}}
		}
		return register(ctx, body, opts)
	}
	return httptest.NewServer(httpapitest.Handler(s))
}

func ExampleClient_Register() {
	server := exampleServer()
	defer server.Close()
	c, err := client.New(server.URL, client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	r, err := c.Register(context.Background(), []byte(`
flow_id: btc
interval_seconds: 60
nodes:
  - {id: price, type: http, parameters: {url: "http://prices/btc"}}
  - {id: order, type: exec}
edges:
  - {source: price, target: order}
`), client.RegisterOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.FlowID, "revision", r.Revision, r.Components)
	// Output: btc revision 1 [[price order]]
}

func ExampleProblem() {
	server := exampleServer()
	defer server.Close()
	c, err := client.New(server.URL, client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	_, err = c.Register(context.Background(), []byte("{}"), client.RegisterOptions{ValidateOnly: true})
	var p *client.Problem
	if errors.As(err, &p) {
		fmt.Println(p.Status, p.Code)
		for _, f := range p.Errors {
			fmt.Println(f)
		}
	}
	// Output:
	// 400 invalid_flow
	// flow_id: is missing
	// nodes: is missing
}

func ExampleClient_StartCycle() {
	server := exampleServer()
	defer server.Close()
	c, err := client.New(server.URL, client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	ctx := context.Background()
	started, err := c.StartCycle(ctx, "btc", "rebalance-2026-01-02")
	if err != nil {
		fmt.Println(err)
		return
	}
	cycle, err := c.Cycle(ctx, "btc", started.Cycle)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range cycle.Nodes {
		fmt.Println(n.NodeID, n.Status)
	}
	// Output:
	// price succeeded
	// order succeeded
}
