package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/shared/ids"
)

// Exit codes; doc.go and --help tell them to users.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitNoAnswer = 3
	exitNotFound = 4
)

// usageError says that the command line asks for something impossible.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// reportedError is a failure whose causes are printed already.
type reportedError struct{ code int }

func (e *reportedError) Error() string { return "already reported" }

// endedError says that a cycle that was waited for did not complete.
type endedError struct{ cycle api.CycleSummary }

func (e *endedError) Error() string {
	text := fmt.Sprintf("cycle %d of %s ended: %s", e.cycle.Cycle, e.cycle.FlowID, e.cycle.Status)
	if e.cycle.Error != "" {
		text += ": " + e.cycle.Error
	}
	return text
}

// exitCode tells a command's error to the shell.
func exitCode(err error) int {
	var (
		usage       *usageError
		reported    *reportedError
		badID       *ids.Error
		problem     *client.Problem
		unreachable *client.Unreachable
	)
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &reported):
		return reported.code
	case errors.As(err, &usage), errors.As(err, &badID):
		return exitUsage
	case errors.As(err, &unreachable), errors.Is(err, context.DeadlineExceeded):
		return exitNoAnswer
	case errors.As(err, &problem):
		return problemCode(problem)
	default:
		return exitFailed
	}
}

func problemCode(p *client.Problem) int {
	switch p.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return exitNoAnswer
	}
	if p.Code == "" {
		return exitFailed // not of the API: its status means something else
	}
	switch p.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return exitUsage
	case http.StatusNotFound:
		return exitNotFound
	default:
		return exitFailed
	}
}

// report prints an error for people, with every fault it has.
func report(w io.Writer, err error) {
	var (
		reported    *reportedError
		problem     *client.Problem
		unreachable *client.Unreachable
	)
	switch {
	case err == nil, errors.As(err, &reported):
	case errors.As(err, &problem) && len(problem.Errors) > 1:
		fmt.Fprintf(w, "stationctl: %s: %d faults\n", problem.Code, len(problem.Errors))
		for _, f := range problem.Errors {
			fmt.Fprintf(w, "  %s\n", fault(f))
		}
	case errors.As(err, &unreachable):
		fmt.Fprintf(w, "stationctl: %s\nIs a coordinator running there? --server or STATION_SERVER names another one.\n", clean(err.Error()))
	default:
		fmt.Fprintf(w, "stationctl: %s\n", clean(err.Error()))
	}
}

// fault returns a fault as one line: place: message [code].
func fault(f api.Fault) string {
	if f.Code == "" {
		return clean(f.String())
	}
	return clean(f.String() + " [" + f.Code + "]")
}
