package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/shared/ids"
)

type startInput struct {
	FlowPath
	Key  string  `header:"Idempotency-Key" maxLength:"128" pattern:"^[!-~]+$" patternDescription:"printable ASCII without spaces" doc:"The same key gives the same cycle again"`
	Wait float64 `query:"wait_seconds" minimum:"0" maximum:"60" doc:"Answer when the cycle has ended, or after so long with the cycle as it stands; at once when 0"`
}

type listCyclesInput struct {
	FlowPath
	Limit  int   `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"How many at most"`
	Before int64 `query:"before" minimum:"1" doc:"Only cycles numbered below this"`
}

// CyclePath is a cycle of a flow named in a path.
type CyclePath struct {
	FlowPath
	Cycle int64 `path:"cycle" minimum:"1" doc:"Number of a cycle"`
}

type nodeInput struct {
	CyclePath
	Node string `path:"node" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$" patternDescription:"made of A-Z a-z 0-9 _ -" doc:"Id of a node"`
}

func (s *server) cycles() {
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: base + "/flows/{flow}/cycles" + path, Summary: summary, Tags: []string{tagCycles}}
	}
	start := op("start-cycle", http.MethodPost, "", "Start a cycle now")
	start.DefaultStatus = http.StatusCreated
	register(s, start, s.startCycle, http.StatusNotFound, http.StatusConflict)
	register(s, op("list-cycles", http.MethodGet, "", "List cycles, newest first"), s.listCycles, http.StatusNotFound)
	register(s, op("get-cycle", http.MethodGet, "/{cycle}", "Get a cycle with its nodes"),
		onCycle(func(ctx context.Context, flow ids.FlowID, cycle int64) (api.Cycle, error) {
			c, err := s.service.GetCycle(ctx, flow, cycle)
			c.Nodes = orEmpty(c.Nodes)
			return c, err
		}), http.StatusNotFound)
	register(s, op("cancel-cycle", http.MethodPost, "/{cycle}/cancel", "Cancel a cycle"),
		onCycle(s.service.CancelCycle), http.StatusNotFound, http.StatusConflict)
	register(s, op("get-node", http.MethodGet, "/{cycle}/nodes/{node}", "Get a node of a cycle with its inputs and outputs"),
		s.getNode, http.StatusNotFound)
}

func (s *server) startCycle(ctx context.Context, in *startInput) (*created[api.CycleSummary], error) {
	flow, err := in.id()
	if err != nil {
		return nil, err
	}
	var c api.CycleSummary
	if in.Wait > 0 {
		c, err = s.service.RunCycle(ctx, flow, in.Key, time.Duration(in.Wait*float64(time.Second)))
	} else {
		c, err = s.service.StartCycle(ctx, flow, in.Key)
	}
	if err != nil {
		return nil, err
	}
	return &created[api.CycleSummary]{
		Status:   http.StatusCreated,
		Location: base + "/flows/" + c.FlowID + "/cycles/" + strconv.FormatInt(c.Cycle, 10),
		Body:     c,
	}, nil
}

func (s *server) listCycles(ctx context.Context, in *listCyclesInput) (*body[api.CycleList], error) {
	flow, err := in.id()
	if err != nil {
		return nil, err
	}
	cycles, err := s.service.ListCycles(ctx, flow, in.Limit, in.Before)
	if err != nil {
		return nil, err
	}
	out := &body[api.CycleList]{api.CycleList{Cycles: orEmpty(cycles)}}
	if n := len(cycles); n >= in.Limit && cycles[n-1].Cycle > 1 {
		out.Body.NextBefore = cycles[n-1].Cycle
	}
	return out, nil
}

func (s *server) getNode(ctx context.Context, in *nodeInput) (*body[api.Node], error) {
	flow, err := in.id()
	if err != nil {
		return nil, err
	}
	node, err := ids.ParseNodeID(in.Node)
	if err != nil {
		return nil, badID("path.node", err)
	}
	n, err := s.service.GetNode(ctx, flow, in.Cycle, node)
	return &body[api.Node]{n}, err
}

// onCycle is a call on one cycle without further parameters.
func onCycle[T any](call func(context.Context, ids.FlowID, int64) (T, error)) func(context.Context, *CyclePath) (*body[T], error) {
	return func(ctx context.Context, in *CyclePath) (*body[T], error) {
		flow, err := in.id()
		if err != nil {
			return nil, err
		}
		v, err := call(ctx, flow, in.Cycle)
		return &body[T]{v}, err
	}
}
