package client

import (
	"fmt"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
)

// Problem is an answer that is an error.
type Problem struct {
	Status     int         // HTTP status
	Code       string      // for programs; "" when the answer was not of the API, as from a proxy
	Detail     string      // for people
	Errors     []api.Fault // every fault the server found
	RetryAfter time.Duration
}

func (p *Problem) Error() string {
	if p.Code == "" {
		return fmt.Sprintf("status %d: %s", p.Status, p.Detail)
	}
	return fmt.Sprintf("%s (%s)", p.Detail, p.Code)
}

// ofAPI is a problem as the API gives it.
func ofAPI(p api.Problem) *Problem {
	return &Problem{Status: p.Status, Code: p.Code, Detail: p.Detail, Errors: p.Errors}
}

// Unreachable says that no coordinator could be reached, or that the
// connection broke before its answer was whole. In the second case the call may
// have taken effect.
type Unreachable struct {
	Tried []string // base URLs, in order
	Cause error    // of the last one
}

func (e *Unreachable) Error() string {
	return fmt.Sprintf("no coordinator answers at %s: %v", strings.Join(e.Tried, ", "), e.Cause)
}

func (e *Unreachable) Unwrap() error { return e.Cause }
