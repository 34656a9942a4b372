package rig

import (
	"context"
	"fmt"
	"time"

	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/deploy/dev/procs"
	"github.com/tradingflow/weather-station/deploy/dev/recorder"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// Verdict is what a judged run came to.
type Verdict struct {
	Cycles     int      `json:"cycles"`  // that ended
	Claims     int      `json:"claims"`  // granted
	Runs       int      `json:"runs"`    // executions that began
	Again      int      `json:"again"`   // of them after a first one
	Skipped    int      `json:"skipped"` // entries of skipped slots
	Unknown    int      `json:"unknown"` // nodes that ended unknown
	Repairs    int      `json:"repairs"`
	Records    int      `json:"records"`
	Violations []string `json:"violations"`
}

// Judge holds everything against everything: journal, recorder, API, logs, and
// the product's own audit. The cluster must be quiet.
func (c *Cluster) Judge(ctx context.Context) (Verdict, error) {
	now, err := c.Ledger.Now(ctx)
	if err != nil {
		return Verdict{}, fmt.Errorf("judge: %w", err)
	}
	if c.ClockSet {
		now = time.Now()
	}
	e := histcheck.Evidence{Journal: c.Reread(ctx), Flows: c.flows, Until: now.Add(-grace), Ended: true, RedisLost: c.RedisLost, ClockSet: c.ClockSet}
	if e.Lines, err = recorder.Read(c.path("recorded.jsonl")); err != nil {
		return Verdict{}, err
	}
	if e.Answers, err = c.answers(ctx); err != nil {
		return Verdict{}, err
	}
	v := count(e)
	for _, x := range histcheck.Check(e) {
		v.add("%s", x)
	}
	c.logs(&v)
	if err := c.verify(ctx, &v); err != nil {
		return v, err
	}
	if v.Cycles == 0 || v.Runs == 0 {
		v.add("no cycle has ended or nothing ran: the run proves nothing")
	}
	return v, nil
}

const maxViolations = 200

func (v *Verdict) add(format string, args ...any) {
	if len(v.Violations) < maxViolations {
		v.Violations = append(v.Violations, fmt.Sprintf(format, args...))
	}
}

func count(e histcheck.Evidence) (v Verdict) {
	v.Records = len(e.Journal)
	for _, r := range e.Journal {
		switch r.Op {
		case "cycle_end":
			v.Cycles++
		case "claim":
			v.Claims++
		case "slot_skipped":
			v.Skipped++
		case "repair":
			v.Repairs++
		case "outcome":
			if histcheck.Status(r.Detail) == "unknown" {
				v.Unknown++
			}
		}
	}
	for _, l := range e.Lines {
		if l.Event == recorder.Start {
			v.Runs++
			if l.Attempt > 1 {
				v.Again++
			}
		}
	}
	return v
}

// answers asks the API for the newest cycles of every flow, and for the nodes of
// those that are kept whole.
func (c *Cluster) answers(ctx context.Context) (out []histcheck.Answer, err error) {
	for id := range c.flows {
		if _, err := c.API.Flow(ctx, string(id)); err != nil {
			return nil, fmt.Errorf("flow %s, which was registered: %w", id, err)
		}
		list, err := c.API.Cycles(ctx, string(id), 20, 0)
		if err != nil {
			return nil, fmt.Errorf("cycles of %s: %w", id, err)
		}
		for _, s := range list.Cycles {
			a := histcheck.Answer{Flow: id, Cycle: s.Cycle, Status: s.Status}
			if !s.Archived {
				whole, err := c.API.Cycle(ctx, string(id), s.Cycle)
				if err != nil {
					return nil, fmt.Errorf("cycle %s/%d: %w", id, s.Cycle, err)
				}
				a.Nodes = map[ids.NodeID]string{}
				for _, n := range whole.Nodes {
					a.Nodes[ids.NodeID(n.NodeID)] = n.Status
				}
			}
			out = append(out, a)
		}
	}
	return out, nil
}

// logs holds panics and data races against the run.
func (c *Cluster) logs(v *Verdict) {
	for _, p := range c.Parts() {
		found, _ := p.Faults(false)
		for _, l := range found {
			v.add("log of %s: %s", p.Name, l)
		}
	}
}

// verify runs the product's own audit.
func (c *Cluster) verify(ctx context.Context, v *Verdict) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	api, err := client.New("http://"+c.address(), client.Options{Timeout: 2 * time.Minute})
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	defer api.Close()
	p, err := api.Verify(ctx, client.VerifyOptions{})
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	for _, x := range p.Violations {
		v.add("verify: %s %s %s/%d/%s: %s", x.Rule, x.Record, x.FlowID, x.Cycle, x.NodeID, x.Message)
	}
	return nil
}

// Serves is where a part answers HTTP.
func (c *Cluster) Serves(p *procs.Process) string { return flag(p, "--http-addr") }

// address is that of a coordinator that runs.
func (c *Cluster) address() string {
	for _, p := range c.Coordinators {
		if p.Running() {
			return c.Serves(p)
		}
	}
	return ""
}

// Count counts entries of a kind after the first skip ones.
func Count(journal []ledger.Record, skip int, op string) (n int) {
	for _, r := range journal[min(skip, len(journal)):] {
		if r.Op == op {
			n++
		}
	}
	return n
}
