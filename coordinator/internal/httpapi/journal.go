package httpapi

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/shared/ids"
)

type journalInput struct {
	Flow  string `query:"flow" maxLength:"128" pattern:"^[A-Za-z0-9_-]+$" patternDescription:"made of A-Z a-z 0-9 _ -" doc:"Only this flow"`
	From  string `query:"from" maxLength:"64" doc:"Begin: an RFC 3339 instant, or how long ago, as -10m; the oldest record when left out" example:"-10m"`
	After string `query:"after" maxLength:"3000" doc:"Begin after this record, or where an answer's next says; from is not looked at then" example:"1767225600000-0"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"1000" doc:"Records at most"`
}

var recordID = regexp.MustCompile(`^([0-9]{1,20}-[0-9]{1,20}(\.[0-9]{1,4})?)?(,([0-9]{1,20}-[0-9]{1,20}(\.[0-9]{1,4})?)?)*$`)

func (s *server) journal() {
	op := huma.Operation{OperationID: "read-journal", Method: http.MethodGet, Path: base + "/journal",
		Summary: "Read the journal", Tags: []string{tagCluster}}
	op.Description = "A page can hold fewer records than the limit and yet have one that follows: with a flow, the journal is searched a part at a time."
	register(s, op, s.readJournal)
}

func (s *server) readJournal(ctx context.Context, in *journalInput) (*body[api.Journal], error) {
	var faults []api.Fault
	r := JournalRange{Flow: ids.FlowID(in.Flow), After: in.After, Limit: in.Limit}
	if in.Flow != "" {
		if _, err := ids.ParseFlowID(in.Flow); err != nil {
			faults = append(faults, api.Fault{Code: api.CodeInvalidRequest, Place: "query.flow", Message: err.Error()})
		}
	}
	from, ok := instant(in.From, time.Now())
	if !ok {
		faults = append(faults, api.Fault{Code: api.CodeInvalidRequest, Place: "query.from", Message: "want an RFC 3339 instant, as 2026-01-02T15:04:05Z, or how long ago, as -10m"})
	}
	switch {
	case in.After != "" && !recordID.MatchString(in.After):
		faults = append(faults, api.Fault{Code: api.CodeInvalidRequest, Place: "query.after", Message: "want the id of a record, as 1767225600000-0"})
	case in.After == "" && !from.IsZero():
		r.After = strconv.FormatInt(max(from.UnixMilli()-1, 0), 10) + "-999999999"
	}
	if len(faults) > 0 {
		return nil, &Invalid{Code: api.CodeInvalidRequest, Faults: faults}
	}
	j, err := s.service.Journal(ctx, r)
	j.Records = orEmpty(j.Records)
	return &body[api.Journal]{j}, err
}
