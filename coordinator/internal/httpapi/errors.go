package httpapi

import (
	"fmt"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
)

// Invalid says that a document or a request can't be accepted as it is. It is
// answered with status 400.
type Invalid struct {
	Code   string // "" = the code of the only fault, or invalid_flow for several
	Detail string // "" = made of the faults
	Faults []api.Fault
}

func (e *Invalid) Error() string { return e.detail() }

func (e *Invalid) code() string {
	switch {
	case e.Code != "":
		return e.Code
	case len(e.Faults) == 1 && e.Faults[0].Code != "":
		return e.Faults[0].Code
	default:
		return api.CodeInvalidFlow
	}
}

func (e *Invalid) detail() string {
	switch {
	case e.Detail != "":
		return e.Detail
	case len(e.Faults) == 0:
		return "the document is invalid"
	case len(e.Faults) == 1:
		return e.Faults[0].String()
	default:
		return fmt.Sprintf("%s (and %d more)", e.Faults[0], len(e.Faults)-1)
	}
}

// NotFound says that a thing does not exist. It is answered with status 404.
type NotFound struct {
	What string // for people, as `flow "btc"` or `cycle 7 of flow "btc"`
}

func (e *NotFound) Error() string { return e.What + " does not exist" }

// Conflict says that a thing's state forbids the call. It is answered with
// status 409.
type Conflict struct {
	Code   string // for programs, as "paused" or "already_running"; "" = conflict
	Detail string // for people: the state and the remedy
}

func (e *Conflict) Error() string { return e.Detail }

// Unavailable says that a server the call needs does not answer now. It is
// answered with status 503 and Retry-After.
type Unavailable struct {
	What       string        // the server or part, as "redis"
	Cause      error         // for the log only; may be nil
	RetryAfter time.Duration // 0 = one second
}

func (e *Unavailable) Error() string {
	if e.Cause == nil {
		return e.What + " is unavailable"
	}
	return fmt.Sprintf("%s is unavailable: %v", e.What, e.Cause)
}

func (e *Unavailable) Unwrap() error { return e.Cause }
