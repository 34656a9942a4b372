package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/shared/ids"
)

type verifyInput struct {
	Flow string `query:"flow" maxLength:"128" pattern:"^[A-Za-z0-9_-]+$" patternDescription:"made of A-Z a-z 0-9 _ -" doc:"Only this flow"`
	From string `query:"from" maxLength:"64" doc:"Begin of the range: an RFC 3339 instant, or how long ago, as -10m; the journal's when left out" example:"-10m"`
	To   string `query:"to" maxLength:"64" doc:"End of the range, as from; now when left out"`
}

type transferInput struct {
	Partition int  `query:"partition" minimum:"0" maximum:"63" doc:"Which partition's leadership; 0 is the only one unless there are several"`
	Here      bool `query:"here" doc:"Only if the coordinator that is asked leads itself; else the call is passed on to the leader"`
}

func (s *server) verify() {
	verify := huma.Operation{OperationID: "verify", Method: http.MethodGet, Path: base + "/verify",
		Summary: "Check the journal against the guarantees", Tags: []string{tagCluster}}
	verify.Description = "Answers 200 whether the journal is clean or not. While the end of the range is open, the state that the ledger holds now is compared with the journal."
	register(s, verify, s.verifyJournal)
	transfer := huma.Operation{OperationID: "transfer-leader", Method: http.MethodPost, Path: base + "/leader/transfer",
		Summary: "Hand the leadership over to a standby", Tags: []string{tagCluster}, DefaultStatus: http.StatusAccepted}
	transfer.Description = "Answers when the leadership has ended; a standby is elected right after."
	register(s, transfer, func(ctx context.Context, in *transferInput) (*body[api.Transfer], error) {
		t, err := s.service.TransferLeader(ctx, in.Partition, in.Here)
		return &body[api.Transfer]{t}, err
	}, http.StatusConflict, http.StatusNotFound)
}

func (s *server) verifyJournal(ctx context.Context, in *verifyInput) (*body[api.Proof], error) {
	now := time.Now()
	var faults []api.Fault
	fault := func(place, message string) {
		faults = append(faults, api.Fault{Code: api.CodeInvalidRequest, Place: place, Message: message})
	}
	r := VerifyRange{Flow: ids.FlowID(in.Flow)}
	if in.Flow != "" {
		if _, err := ids.ParseFlowID(in.Flow); err != nil {
			fault("query.flow", err.Error())
		}
	}
	for _, side := range []struct {
		place, text string
		at          *time.Time
	}{{"query.from", in.From, &r.From}, {"query.to", in.To, &r.To}} {
		at, ok := instant(side.text, now)
		if !ok {
			fault(side.place, "want an RFC 3339 instant, as 2026-01-02T15:04:05Z, or how long ago, as -10m")
		}
		*side.at = at
	}
	if !r.From.IsZero() && !r.To.IsZero() && r.To.Before(r.From) {
		fault("query.to", "lies before from")
	}
	if len(faults) > 0 {
		return nil, &Invalid{Code: api.CodeInvalidRequest, Faults: faults}
	}
	p, err := s.service.Verify(ctx, r)
	p.Violations, p.Slots = orEmpty(p.Violations), orEmpty(p.Slots)
	if p.Checked == nil {
		p.Checked = map[string]int64{}
	}
	return &body[api.Proof]{p}, err
}

// instant reads one side of a range; the empty text is the zero time.
func instant(text string, now time.Time) (time.Time, bool) {
	if text == "" {
		return time.Time{}, true
	}
	if ago, err := time.ParseDuration(text); err == nil {
		return now.Add(ago), ago <= 0
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	return at, err == nil
}
