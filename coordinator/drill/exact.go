package drill

import (
	"context"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/client"
)

// Reign is one leadership, from its first to its last dispatch of the canary.
type Reign struct {
	Epoch int64    `json:"epoch"`
	From  api.Time `json:"from"`
	To    api.Time `json:"to"`
}

// readJournal reads what the journal holds of the canary.
func (r *round) readJournal(ctx context.Context) {
	opts := client.JournalOptions{Flow: r.flow, From: api.At(r.began.Add(-time.Second)).String()}
	for {
		page, err := r.cfg.Verifier.Journal(ctx, opts)
		if err != nil {
			r.fail("the journal can't be read: %v", err)
			return
		}
		r.records = append(r.records, page.Records...)
		if page.Next == "" || page.Next == opts.After {
			return
		}
		opts.After = page.Next
	}
}

// exact measures by the journal, whose records carry the ledger's milliseconds.
func (r *Round) exact(records []api.JournalRecord, at time.Time) {
	r.Leaders = []Reign{}
	type try struct {
		cycle int64
		node  string
	}
	type run struct {
		attempt int
		worker  string
	}
	running := map[try]run{} // at the fault
	hit := map[try]int{}     // attempts that the worker ran then, not begun again
	var rerun time.Time
	for _, x := range records {
		if x.Op == "dispatch" && x.Epoch > 0 {
			if n := len(r.Leaders); n > 0 && r.Leaders[n-1].Epoch == x.Epoch {
				r.Leaders[n-1].To = x.At
			} else {
				r.Leaders = append(r.Leaders, Reign{Epoch: x.Epoch, From: x.At, To: x.At})
			}
		}
		if at.IsZero() || r.Worker == "" {
			continue
		}
		t := try{x.Cycle, x.NodeID}
		switch before := x.At.Before(at); {
		case x.Op == "claim" && before:
			running[t] = run{x.Attempt, x.Worker}
		case x.Op == "outcome" && before:
			delete(running, t)
		case x.Op == "outcome" && running[t].worker == r.Worker && hit[t] == 0:
			delete(running, t) // it ended although its worker was hit
		case x.Op == "claim" && running[t].worker == r.Worker && x.Attempt > running[t].attempt && hit[t] == 0:
			hit[t] = x.Attempt
			if x.At.After(rerun) {
				rerun = x.At.Time
			}
		}
	}
	if at.IsZero() {
		return
	}
	since := func(t, from time.Time) *int64 { ms := t.Sub(from).Milliseconds(); return &ms }
	if !rerun.IsZero() {
		r.RerunMS = since(rerun, at)
	}
	for i, l := range r.Leaders {
		if l.Epoch <= r.Epoch || l.From.Before(at.Truncate(time.Millisecond)) {
			continue
		}
		if r.NewEpoch > 0 { // the leader was replaced
			r.DispatchMS = since(l.From.Time, at)
			if i > 0 {
				r.GapMS = since(l.From.Time, r.Leaders[i-1].To.Time)
			}
		}
		return
	}
}
