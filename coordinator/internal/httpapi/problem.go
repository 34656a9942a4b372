package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tradingflow/weather-station/coordinator/api"
)

// statusClosed is what an answer to a client that has gone away counts as.
// Nobody reads it.
const statusClosed = 499

// problem is an api.Problem as the framework wants errors to be. Clients of
// the earlier product look for error and message.
type problem struct {
	api.Problem
	OldError   string `json:"error,omitempty"`
	OldMessage string `json:"message,omitempty"`

	retryAfter time.Duration
}

func newProblem(status int, code, detail string, faults ...api.Fault) *problem {
	title := http.StatusText(status)
	if title == "" {
		title = "Client Closed Request"
	}
	return &problem{Problem: api.Problem{Type: "about:blank", Title: title, Status: status,
		Code: code, Detail: detail, Errors: faults}}
}

func (p *problem) forOriginal() *problem {
	p.OldError, p.OldMessage = p.Detail, p.Detail
	return p
}

func (p *problem) Error() string             { return p.Detail }
func (p *problem) GetStatus() int            { return p.Status }
func (p *problem) ContentType(string) string { return api.ProblemType }
func (p *problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	return h
}

// write answers a request that no call of the API handles.
func (p *problem) write(w http.ResponseWriter) {
	for k, v := range p.GetHeaders() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", api.ProblemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client has gone away if this fails
}

// problemOf turns an error of the service into what a client may see. Only an
// error nobody foresaw is logged as an error.
func (s *server) problemOf(ctx context.Context, operation string, original bool, err error) *problem {
	p := s.classify(ctx, operation, err)
	if original {
		p.forOriginal()
	}
	return p
}

func (s *server) classify(ctx context.Context, operation string, err error) *problem {
	var (
		known       *problem
		invalid     *Invalid
		notFound    *NotFound
		conflict    *Conflict
		unavailable *Unavailable
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &invalid):
		return newProblem(http.StatusBadRequest, invalid.code(), invalid.detail(), invalid.Faults...)
	case errors.As(err, &notFound):
		return newProblem(http.StatusNotFound, api.CodeNotFound, notFound.Error())
	case errors.As(err, &conflict):
		code := conflict.Code
		if code == "" {
			code = api.CodeConflict
		}
		return newProblem(http.StatusConflict, code, conflict.Detail)
	case errors.Is(ctx.Err(), context.Canceled):
		return newProblem(statusClosed, "client_closed", "the client closed the connection")
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		s.log.Warn("call timed out", "operation", operation, "error", err)
		return newProblem(http.StatusGatewayTimeout, api.CodeTimeout, "the call took too long; whether it took effect is not known")
	case errors.As(err, &unavailable):
		s.log.Warn("call refused: dependency unavailable", "operation", operation, "what", unavailable.What, "error", err)
		p := newProblem(http.StatusServiceUnavailable, api.CodeUnavailable, unavailable.What+" is unavailable; try again")
		p.retryAfter = max(unavailable.RetryAfter, time.Second)
		return p
	default:
		s.log.Error("call failed", "operation", operation, "error", err)
		return internalProblem()
	}
}

// internalProblem is what a client sees of an error that nobody foresaw.
func internalProblem() *problem {
	return newProblem(http.StatusInternalServerError, api.CodeInternal, "internal error; the coordinator's log has the cause")
}

// frameworkStatus maps the statuses that the framework chooses to ours: bad
// parameters are a 400, and its only 500 is a body that ended early.
func frameworkStatus(status int) int {
	switch status {
	case http.StatusUnprocessableEntity, http.StatusInternalServerError:
		return http.StatusBadRequest
	default:
		return status
	}
}

// ownErrors turns the framework's errors into problems.
func ownErrors(ctx huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	status := frameworkStatus(m.Status)
	p := newProblem(status, api.CodeInvalidRequest, m.Detail)
	switch status {
	case http.StatusRequestEntityTooLarge:
		p.Code = api.CodeTooLarge
		p.Detail = "the body is larger than " + strconv.Itoa(MaxBodyBytes>>20) + " MiB"
	case http.StatusRequestTimeout:
		p.Code = api.CodeTimeout
	}
	if m.Status == http.StatusInternalServerError {
		p.Detail = "the body ended early"
		m.Errors = nil
	}
	for _, e := range m.Errors {
		if e == nil {
			continue
		}
		f := api.Fault{Code: api.CodeInvalidRequest, Place: e.Location, Message: e.Message}
		if strings.HasPrefix(e.Location, "path.") {
			f.Code, p.Code = api.CodeBadID, api.CodeBadID
		}
		p.Errors = append(p.Errors, f)
	}
	if len(p.Errors) > 0 {
		p.Detail = (&Invalid{Faults: p.Errors}).detail()
	}
	if op := ctx.Operation(); op != nil && slices.Contains(op.Tags, tagOriginal) {
		p.forOriginal()
	}
	// The framework must write our status, which it chose before it asked.
	if sm, ok := ctx.(*statusMap); ok {
		sm.replaced = p.Status
	}
	return p, nil
}

// frameworkContext is huma.Context under a name that does not hide its method
// Context when embedded.
type frameworkContext = huma.Context

// statusMap lets ownErrors replace the status of an answer.
type statusMap struct {
	frameworkContext
	replaced int
}

// SetStatus writes the status, or the one that replaces it.
func (c *statusMap) SetStatus(status int) {
	if c.replaced != 0 {
		status = c.replaced
	}
	c.frameworkContext.SetStatus(status)
}

// Unwrap returns the framework's own context.
func (c *statusMap) Unwrap() huma.Context { return c.frameworkContext }
