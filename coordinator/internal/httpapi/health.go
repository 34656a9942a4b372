package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tradingflow/weather-station/coordinator/api"
)

func (s *server) healthRoutes() {
	register(s, huma.Operation{OperationID: "live", Method: http.MethodGet, Path: "/livez",
		Summary: "Tell whether the process makes progress", Tags: []string{tagHealth}},
		func(context.Context, *none) (*body[api.Liveness], error) {
			if err := s.health.Live(); err != nil {
				return nil, newProblem(http.StatusServiceUnavailable, "not_live", err.Error())
			}
			return &body[api.Liveness]{api.Liveness{Live: true, Version: s.version}}, nil
		})
	register(s, huma.Operation{OperationID: "ready", Method: http.MethodGet, Path: "/readyz",
		Summary:     "Tell whether the process may be used",
		Description: "A standby is ready. Each server it can't reach is one entry of errors.", Tags: []string{tagHealth}},
		func(ctx context.Context, _ *none) (*body[api.Readiness], error) {
			all := orEmpty(s.health.Ready(ctx))
			var faults []api.Fault
			for _, d := range all {
				if !d.OK {
					faults = append(faults, api.Fault{Code: "not_ready", Place: d.Name, Message: d.Detail})
				}
			}
			if len(faults) > 0 {
				return nil, newProblem(http.StatusServiceUnavailable, "not_ready", (&Invalid{Faults: faults}).detail(), faults...)
			}
			return &body[api.Readiness]{api.Readiness{Ready: true, Dependencies: all}}, nil
		})
}
