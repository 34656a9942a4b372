package httpapi

import (
	"html"
	"net/http"
	"strings"
)

// rootPage answers / with links to what a person may look at. It needs nothing
// from another host.
func rootPage(version string, metrics bool) http.Handler {
	links := [][2]string{
		{base + "/flows", "flows"},
		{base + "/cluster", "cluster: leader, members, pools, health"},
		{base + "/workers", "workers"},
		{"/openapi.json", "description of the HTTP API (OpenAPI 3.1)"},
		{"/livez", "liveness"},
		{"/readyz", "readiness"},
	}
	if metrics {
		links = append(links, [2]string{"/metrics", "metrics (Prometheus)"})
	}
	var b strings.Builder
	b.WriteString("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">" +
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Weather Station</title></head>\n" +
		"<body><h1>Weather Station</h1><p>Version " + html.EscapeString(version) + "</p>\n<ul>\n")
	for _, l := range links {
		b.WriteString("<li><a href=\"" + l[0] + "\">" + l[1] + "</a></li>\n")
	}
	b.WriteString("</ul></body></html>\n")
	page := []byte(b.String())
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		_, _ = w.Write(page)
	})
}
