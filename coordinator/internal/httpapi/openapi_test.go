package httpapi_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tradingflow/weather-station/coordinator/internal/httpapi/httpapitest"
)

type operation struct {
	OperationID string `json:"operationId"`
	Parameters  []struct {
		Name string `json:"name"`
		In   string `json:"in"`
	} `json:"parameters"`
	Responses map[string]struct {
		Content map[string]struct {
			Schema map[string]any `json:"schema"`
		} `json:"content"`
	} `json:"responses"`
}

func describe(t *testing.T) (raw map[string]any, paths map[string]map[string]operation) {
	t.Helper()
	w := request(httpapitest.Handler(httpapitest.New()), "GET", "/openapi.json", "")
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/openapi+json" {
		t.Fatalf("got %d as %s", w.Code, w.Header().Get("Content-Type"))
	}
	var typed struct {
		OpenAPI string                          `json:"openapi"`
		Paths   map[string]map[string]operation `json:"paths"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &typed); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &raw); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(typed.OpenAPI, "3.1.") {
		t.Errorf("openapi %q", typed.OpenAPI)
	}
	return raw, typed.Paths
}

func TestDescriptionListsEveryRoute(t *testing.T) {
	_, paths := describe(t)
	var got []string
	seen := map[string]string{}
	parameter := regexp.MustCompile(`\{(\w+)\}`)
	for path, methods := range paths {
		for method, op := range methods {
			route := strings.ToUpper(method) + " " + path
			got = append(got, route)
			if other, twice := seen[op.OperationID]; twice || op.OperationID == "" {
				t.Errorf("operation id %q of %s is empty or that of %s", op.OperationID, route, other)
			}
			seen[op.OperationID] = route
			for _, m := range parameter.FindAllStringSubmatch(path, -1) {
				found := false
				for _, p := range op.Parameters {
					found = found || p.In == "path" && p.Name == m[1]
				}
				if !found {
					t.Errorf("%s does not describe {%s}", route, m[1])
				}
			}
			for status, r := range op.Responses {
				for contentType, c := range r.Content {
					if problem := status[0] >= '4'; problem != (contentType == "application/problem+json") {
						t.Errorf("%s: status %s is %s", route, status, contentType)
					} else if problem && c.Schema["$ref"] != "#/components/schemas/Problem" {
						t.Errorf("%s: status %s has schema %v", route, status, c.Schema)
					}
				}
			}
		}
	}
	slices.Sort(got)
	want := []string{
		"DELETE /api/v1/flows/{flow}",
		"GET /api/v1/cluster",
		"GET /api/v1/flows",
		"GET /api/v1/flows/{flow}",
		"GET /api/v1/flows/{flow}/cycles",
		"GET /api/v1/flows/{flow}/cycles/{cycle}",
		"GET /api/v1/flows/{flow}/cycles/{cycle}/nodes/{node}",
		"GET /api/v1/flows/{flow}/metrics",
		"GET /api/v1/journal",
		"GET /api/v1/verify",
		"GET /api/v1/workers",
		"GET /flows/{flow}/status",
		"GET /livez",
		"GET /readyz",
		"POST /api/v1/flows",
		"POST /api/v1/flows/{flow}/cycles",
		"POST /api/v1/flows/{flow}/cycles/{cycle}/cancel",
		"POST /api/v1/flows/{flow}/pause",
		"POST /api/v1/flows/{flow}/resume",
		"POST /api/v1/leader/transfer",
		"POST /api/v1/once",
		"POST /api/v1/runs",
		"POST /flows/execute",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

func TestDescriptionIsSound(t *testing.T) {
	raw, _ := describe(t)
	schemas := raw["components"].(map[string]any)["schemas"].(map[string]any)
	for _, unused := range []string{"ErrorModel", "ErrorDetail"} {
		if _, there := schemas[unused]; there {
			t.Errorf("schema %s is described and used by nothing", unused)
		}
	}
	used := map[string]bool{}
	var walk func(place string, v any)
	walk = func(place string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				name, found := strings.CutPrefix(ref, "#/components/schemas/")
				if _, there := schemas[name]; !found || !there {
					t.Errorf("%s refers to %s, which is not there", place, ref)
				}
				used[name] = true
			}
			for k, e := range v {
				walk(place+"."+k, e)
			}
		case []any:
			for i, e := range v {
				walk(fmt.Sprintf("%s[%d]", place, i), e)
			}
		}
	}
	walk("", raw)
	for name := range schemas {
		if !used[name] {
			t.Errorf("schema %s is used by nothing", name)
		}
	}
	cycle := schemas["CycleSummary"].(map[string]any)
	started := cycle["properties"].(map[string]any)["started_at"].(map[string]any)
	if started["format"] != "date-time" {
		t.Errorf("started_at is described as %v", started)
	}
	for _, r := range cycle["required"].([]any) {
		if r == "started_at" || r == "slot" || r == "error" {
			t.Errorf("%v is described as required, but may be absent", r)
		}
	}
}
