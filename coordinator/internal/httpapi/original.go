package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/shared/ids"
)

// original adds the calls that clients of the earlier product make. They lie
// outside /api/v1 and call the same service.
func (s *server) original() {
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{tagOriginal}, Deprecated: true}
	}
	register(s, s.takesDocument(op("execute-flow", http.MethodPost, "/flows/execute", "Register a flow and start its schedule")),
		s.executeFlow, http.StatusConflict, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	register(s, op("get-flow-status", http.MethodGet, "/flows/{flow}/status", "Get a flow's status"),
		onFlow(func(ctx context.Context, flow ids.FlowID) (api.OriginalStatus, error) {
			f, err := whole(s.service.GetFlow)(ctx, flow)
			out := api.OriginalStatus{FlowStatus: f, LastCycle: f.LatestCycle}
			if f.CycleStatus != nil {
				out.CurrentCycleStatus = f.CycleStatus.Status
			}
			return out, err
		}), http.StatusNotFound)
}

// executeFlow registers the document and makes it run: a paused flow is
// released, and a flow without a schedule gets its one cycle now.
func (s *server) executeFlow(ctx context.Context, in *document) (*body[api.Executed], error) {
	contentType, err := in.mediaType()
	if err != nil {
		return nil, err
	}
	r, err := s.service.Register(ctx, in.bytes(), RegisterOptions{ContentType: contentType})
	if err != nil {
		return nil, err
	}
	flow := ids.FlowID(r.FlowID)
	if r.Status == api.FlowPaused {
		if _, err := s.service.ResumeFlow(ctx, flow); err != nil {
			return nil, err
		}
	}
	out := api.Executed{Status: "running", FlowID: r.FlowID, Revision: r.Revision, Message: "the flow is registered and its schedule runs"}
	if r.ScheduleType == api.Manual {
		c, err := s.service.StartCycle(ctx, flow, "")
		if err != nil {
			return nil, err
		}
		out.Cycle, out.Message = c.Cycle, "the flow is registered and a cycle has started"
	}
	return &body[api.Executed]{out}, nil
}
