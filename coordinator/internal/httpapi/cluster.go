package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tradingflow/weather-station/coordinator/api"
)

func (s *server) cluster() {
	register(s, huma.Operation{OperationID: "get-cluster", Method: http.MethodGet, Path: base + "/cluster",
		Summary: "Get leader, members, pools and health", Tags: []string{tagCluster}},
		func(ctx context.Context, _ *none) (*body[api.Cluster], error) {
			c, err := s.service.Cluster(ctx)
			c.Members, c.Pools, c.Health = orEmpty(c.Members), orEmpty(c.Pools), orEmpty(c.Health)
			return &body[api.Cluster]{c}, err
		})
	register(s, huma.Operation{OperationID: "list-workers", Method: http.MethodGet, Path: base + "/workers",
		Summary: "List live workers", Tags: []string{tagCluster}},
		func(ctx context.Context, _ *none) (*body[api.WorkerList], error) {
			w, err := s.service.Workers(ctx)
			return &body[api.WorkerList]{api.WorkerList{Workers: orEmpty(w)}}, err
		})
}
