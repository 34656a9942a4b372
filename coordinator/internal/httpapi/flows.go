package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/shared/ids"
)

const base = "/api/v1"

// FlowPath is a flow named in a path. It is exported, as CyclePath is, because
// the framework reads embedded structs only then.
type FlowPath struct {
	Flow string `path:"flow" maxLength:"128" pattern:"^[A-Za-z0-9_-]+$" patternDescription:"made of A-Z a-z 0-9 _ -" doc:"Id of a flow" example:"btc-momentum"`
}

func (p *FlowPath) id() (ids.FlowID, error) {
	id, err := ids.ParseFlowID(p.Flow)
	if err != nil {
		return "", badID("path.flow", err)
	}
	return id, nil
}

func badID(place string, err error) error {
	return &Invalid{Code: api.CodeBadID, Faults: []api.Fault{{Code: api.CodeBadID, Place: place, Message: err.Error()}}}
}

type registerInput struct {
	document
	AllowUnknownTypes bool   `query:"allow_unknown_types" doc:"Accept node types that no worker carries"`
	ValidateOnly      bool   `query:"validate_only" doc:"Check the document and store nothing"`
	FlowID            string `query:"flow_id" maxLength:"128" pattern:"^[A-Za-z0-9_-]+$" patternDescription:"made of A-Z a-z 0-9 _ -" doc:"Id of the flow, for a spelling that carries none"`
	Interval          string `query:"interval" maxLength:"64" doc:"Interval, for a spelling that carries none" example:"30s"`
}

func (s *server) flows() {
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: base + path, Summary: summary, Tags: []string{tagFlows}}
	}
	post := s.takesDocument(op("register-flow", http.MethodPost, "/flows", "Register a flow, or replace its definition"))
	post.Description = "A document that differs from the stored one makes a new revision; an equal one changes nothing. Running cycles keep the revision they began with."
	post.Responses = map[string]*huma.Response{"201": response[api.Registered](s.api, http.StatusCreated, "application/json")}
	register(s, post, s.registerFlow, http.StatusConflict, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)

	register(s, op("list-flows", http.MethodGet, "/flows", "List all flows"),
		func(ctx context.Context, _ *none) (*body[api.FlowList], error) {
			flows, err := s.service.ListFlows(ctx)
			return &body[api.FlowList]{api.FlowList{Flows: orEmpty(flows)}}, err
		})
	register(s, op("get-flow", http.MethodGet, "/flows/{flow}", "Get a flow's status and definition"),
		onFlow(whole(s.service.GetFlow)), http.StatusNotFound)
	register(s, op("delete-flow", http.MethodDelete, "/flows/{flow}", "Delete a flow with its cycles"),
		func(ctx context.Context, in *FlowPath) (*none, error) {
			id, err := in.id()
			if err != nil {
				return nil, err
			}
			return &none{}, s.service.DeleteFlow(ctx, id)
		}, http.StatusNotFound, http.StatusConflict)

	pause := op("pause-flow", http.MethodPost, "/flows/{flow}/pause", "Hold a flow: no cycle starts and no node is claimed")
	register(s, pause, onFlow(whole(s.service.PauseFlow)), http.StatusNotFound, http.StatusConflict)
	resume := op("resume-flow", http.MethodPost, "/flows/{flow}/resume", "Release a paused flow")
	register(s, resume, onFlow(whole(s.service.ResumeFlow)), http.StatusNotFound, http.StatusConflict)
	register(s, op("get-flow-metrics", http.MethodGet, "/flows/{flow}/metrics", "Get execution metrics over the last ended cycles"),
		onFlow(s.service.Metrics), http.StatusNotFound)
}

func (s *server) registerFlow(ctx context.Context, in *registerInput) (*created[api.Registered], error) {
	contentType, err := in.mediaType()
	if err != nil {
		return nil, err
	}
	r, err := s.service.Register(ctx, in.bytes(), RegisterOptions{
		FlowID: in.FlowID, Interval: in.Interval, ContentType: contentType,
		AllowUnknownTypes: in.AllowUnknownTypes, ValidateOnly: in.ValidateOnly,
	})
	if err != nil {
		return nil, err
	}
	r.Components, r.EntryNodes = orEmpty(r.Components), orEmpty(r.EntryNodes)
	out := &created[api.Registered]{Status: http.StatusOK, Body: r}
	if r.Created && !in.ValidateOnly {
		out.Status, out.Location = http.StatusCreated, base+"/flows/"+r.FlowID
	}
	return out, nil
}

// onFlow is a call on one flow without further parameters.
func onFlow[T any](call func(context.Context, ids.FlowID) (T, error)) func(context.Context, *FlowPath) (*body[T], error) {
	return func(ctx context.Context, in *FlowPath) (*body[T], error) {
		id, err := in.id()
		if err != nil {
			return nil, err
		}
		v, err := call(ctx, id)
		return &body[T]{v}, err
	}
}

// whole makes the lists of a flow's status present even when empty.
func whole(call func(context.Context, ids.FlowID) (api.FlowStatus, error)) func(context.Context, ids.FlowID) (api.FlowStatus, error) {
	return func(ctx context.Context, flow ids.FlowID) (api.FlowStatus, error) {
		f, err := call(ctx, flow)
		f.Components, f.EntryNodes = orEmpty(f.Components), orEmpty(f.EntryNodes)
		f.Sinks, f.Levels = orEmpty(f.Sinks), orEmpty(f.Levels)
		return f, err
	}
}

// orEmpty makes a missing list an empty one, so that it is [] in JSON.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
