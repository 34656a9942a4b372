package httpapi

import (
	"bytes"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tradingflow/weather-station/coordinator/api"
)

// document is the body of a call that takes a flow document. The framework
// reads it, within limits; the service reads its meaning.
type document struct {
	RawBody []byte `contentType:"text/plain"`

	contentType string
	encoding    string
}

// Resolve keeps the headers that say how to read the body.
func (d *document) Resolve(ctx huma.Context) []error {
	d.contentType, d.encoding = ctx.Header("Content-Type"), ctx.Header("Content-Encoding")
	return nil
}

// mediaType returns the body's media type, or "" when the text itself has to
// tell. Errors are *problem with status 415.
func (d *document) mediaType() (string, error) {
	if d.encoding != "" && !strings.EqualFold(d.encoding, "identity") {
		return "", newProblem(http.StatusUnsupportedMediaType, api.CodeUnsupportedType,
			"Content-Encoding is not supported; send the document as it is")
	}
	if d.contentType == "" {
		return "", nil
	}
	t, _, err := mime.ParseMediaType(d.contentType)
	switch {
	case err != nil:
	case t == "application/json", strings.HasSuffix(t, "+json"):
		return "application/json", nil
	case slices.Contains([]string{"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"}, t),
		strings.HasSuffix(t, "+yaml"):
		return "application/yaml", nil
	case t == "text/plain", t == "application/octet-stream", t == "application/x-www-form-urlencoded":
		return "", nil // the last is what curl --data-binary says of any file
	}
	return "", newProblem(http.StatusUnsupportedMediaType, api.CodeUnsupportedType,
		"a flow document is application/json, application/yaml or text/plain")
}

// bytes returns a copy: the framework uses its buffer again after the call.
func (d *document) bytes() []byte { return bytes.Clone(d.RawBody) }

// takesDocument describes the body of a call that takes a document and sets
// the limits of reading it.
func (s *server) takesDocument(op huma.Operation) huma.Operation {
	schema := func() *huma.Schema {
		return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true,
			Description: "A flow document in any accepted spelling"}
	}
	op.RequestBody = &huma.RequestBody{
		Description: "A flow document as JSON or YAML, at most 8 MiB",
		Required:    true,
		Content: map[string]*huma.MediaType{
			"application/json": {Schema: schema()},
			"application/yaml": {Schema: schema()},
		},
	}
	op.SkipValidateBody = true
	op.MaxBodyBytes = MaxBodyBytes + 1 // the framework refuses at its limit, we above ours
	op.BodyReadTimeout = s.bodyTimeout
	return op
}
