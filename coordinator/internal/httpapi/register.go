package httpapi

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tradingflow/weather-station/coordinator/api"
)

// none is the input of a call without parameters, or the output of one without
// a body.
type none struct{}

// body is the output of a call that always answers with the same status.
type body[T any] struct{ Body T }

// created is the output of a call that may have made something.
type created[T any] struct {
	Status   int
	Location string `header:"Location" doc:"Path of what was made"`
	Body     T
}

// register adds a call. The errors of handle are turned into problems; extra
// names the statuses beside 400, 500, 503 and 504 that they may have.
func register[I, O any](s *server, op huma.Operation, handle func(context.Context, *I) (*O, error), extra ...int) {
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	statuses := append([]int{http.StatusBadRequest, http.StatusInternalServerError,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout}, extra...)
	slices.Sort(statuses)
	for _, status := range statuses {
		op.Responses[strconv.Itoa(status)] = response[api.Problem](s.api, status, api.ProblemType)
	}
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, s.problemOf(ctx, op.OperationID, slices.Contains(op.Tags, tagOriginal), err)
		}
		return out, nil
	})
}

// response describes an answer whose body is a T.
func response[T any](a huma.API, status int, contentType string) *huma.Response {
	return &huma.Response{
		Description: http.StatusText(status),
		Content: map[string]*huma.MediaType{
			contentType: {Schema: a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")},
		},
	}
}
