package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/oncekey"
)

type onceInput struct {
	Body oncekey.Request
}

func (s *server) once() {
	take := huma.Operation{OperationID: "take-once-key", Method: http.MethodPost, Path: oncekey.Path,
		Summary: "Take the once-key of an at-most-once node, before it is started", Tags: []string{tagCluster},
		MaxBodyBytes: 4096, BodyReadTimeout: s.bodyTimeout}
	take.Description = "For workers. The token that got the key may ask again and gets it again; any other hears that it is taken. After an error it is not known whether the key was made: ask again, here or at another coordinator."
	register(s, take, s.takeOnceKey, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
}

func (s *server) takeOnceKey(ctx context.Context, in *onceInput) (*body[oncekey.Reply], error) {
	var faults []api.Fault
	fault := func(code, place string, err error) {
		if err != nil {
			faults = append(faults, api.Fault{Code: code, Place: place, Message: err.Error()})
		}
	}
	var q OnceRequest
	var err error
	q.Flow, err = ids.ParseFlowID(in.Body.FlowID)
	fault(api.CodeBadID, "body.flow_id", err)
	q.Node, err = ids.ParseNodeID(in.Body.NodeID)
	fault(api.CodeBadID, "body.node_id", err)
	q.Occasion, err = uuid.Parse(in.Body.Occasion)
	fault(api.CodeInvalidRequest, "body.occasion", err)
	q.Token, err = uuid.Parse(in.Body.Token)
	fault(api.CodeInvalidRequest, "body.token", err)
	if len(faults) == 0 && (q.Token == uuid.Nil || q.Occasion == uuid.Nil) {
		faults = append(faults, api.Fault{Code: api.CodeInvalidRequest, Place: "body", Message: "occasion and token must not be the nil UUID"})
	}
	if len(faults) > 0 {
		return nil, &Invalid{Code: api.CodeInvalidRequest, Faults: faults}
	}
	granted, err := s.service.TakeOnceKey(ctx, q)
	reply := oncekey.Reply{Answer: oncekey.Taken}
	if granted {
		reply.Answer = oncekey.Granted
	}
	return &body[oncekey.Reply]{reply}, err
}
