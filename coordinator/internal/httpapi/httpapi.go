package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/api"
)

// MaxBodyBytes is the largest request body that is read.
const MaxBodyBytes = 8 << 20

// Config is what New needs. Service, Health and Log are required.
type Config struct {
	Service        Service
	Health         Health
	Log            hclog.Logger
	Version        string        // of the product, shown in the API's description
	Metrics        http.Handler  // behind /metrics; nil = no such route
	RequestTimeout time.Duration // of one call; 0 = 30 s
	BodyTimeout    time.Duration // for the body of a call to arrive; 0 = 15 s
}

// New returns the handler of every route. It fails only on a Config that lacks
// something or on a defect in the API's own description.
func New(cfg Config) (http.Handler, error) {
	if cfg.Service == nil || cfg.Health == nil || cfg.Log == nil {
		return nil, errors.New("http api: Service, Health and Log are required")
	}
	if cfg.RequestTimeout <= 0 {
		cfg.RequestTimeout = 30 * time.Second
	}
	if cfg.BodyTimeout <= 0 {
		cfg.BodyTimeout = 15 * time.Second
	}
	if cfg.Version == "" {
		cfg.Version = "dev"
	}
	mux := http.NewServeMux()
	a := humago.New(mux, description(cfg.Version))
	a.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) { next(&statusMap{frameworkContext: ctx}) })
	s := &server{api: a, service: cfg.Service, health: cfg.Health, log: cfg.Log, version: cfg.Version, bodyTimeout: cfg.BodyTimeout}
	s.flows()
	s.cycles()
	s.runs()
	s.cluster()
	s.verify()
	s.once()
	s.journal()
	s.original()
	s.healthRoutes()
	// The framework describes its own error model; no answer uses it.
	schemas := a.OpenAPI().Components.Schemas.Map()
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	spec, err := json.Marshal(a.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("http api: describe: %w", err)
	}
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(spec)
	})
	if cfg.Metrics != nil {
		mux.Handle("GET /metrics", cfg.Metrics)
	}
	mux.Handle("GET /{$}", rootPage(cfg.Version, cfg.Metrics != nil))
	mux.Handle("/", unrouted(mux))
	return guard(mux, cfg.Log, cfg.RequestTimeout), nil
}

type server struct {
	api     huma.API
	service Service
	health  Health
	log     hclog.Logger
	version string

	bodyTimeout time.Duration
}

func description(version string) huma.Config {
	c := huma.DefaultConfig("Weather Station", version)
	c.Info.Description = "Runs flows of nodes in periodic cycles. Errors are application/problem+json with a code, a detail and the list of all faults."
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.CreateHooks = nil
	c.AllowAdditionalPropertiesByDefault = true // fields are added over time
	c.RejectUnknownQueryParameters = true
	c.Transformers = []huma.Transformer{ownErrors}
	c.Tags = []*huma.Tag{
		{Name: tagFlows, Description: "Flows: register, read, pause, delete"},
		{Name: tagCycles, Description: "Cycles and their nodes: start, read, cancel"},
		{Name: tagCluster, Description: "Coordinators, pools and workers"},
		{Name: tagHealth, Description: "For supervisors and load balancers"},
		{Name: tagOriginal, Description: "Kept for clients of the earlier product; errors carry error and message as well"},
	}
	c.Components.Schemas.RegisterTypeAlias(reflect.TypeFor[api.Time](), reflect.TypeFor[time.Time]())
	return c
}

const (
	tagFlows    = "flows"
	tagCycles   = "cycles"
	tagCluster  = "cluster"
	tagHealth   = "health"
	tagOriginal = "original"
)
