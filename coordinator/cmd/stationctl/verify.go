package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/client"
)

// shownViolations is how many a table lists; json and yaml hold them all.
const shownViolations = 20

type verifyCmd struct {
	Flow string `placeholder:"FLOW" help:"Only this flow."`
	From string `placeholder:"TIME" aliases:"since" help:"Begin of the range: an RFC 3339 instant, or how long ago, as 10m; the journal's begin when left out."`
	To   string `placeholder:"TIME" help:"End of the range, as --from; now when left out."`
}

func (verifyCmd) Help() string {
	return "Checks every record of the journal and, unless --to is given, the state that the ledger holds now: counters, nodes, slots,\n" +
		"leases, timers and offers have to agree with the journal. The exit code is 0 when all is clean, 1 when something breaks a rule,\n" +
		"and another one when it could not be checked.\n\nExamples:\n\n" +
		"    stationctl verify\n    stationctl verify --since 10m --flow btc-momentum\n    stationctl verify -o json"
}

func (c *verifyCmd) Run(ctx context.Context, a *app) error {
	done := a.waiting("checking the journal")
	p, err := a.client.Verify(ctx, client.VerifyOptions{Flow: c.Flow, From: ago(c.From), To: ago(c.To)})
	done()
	if err != nil {
		return err
	}
	if err := a.print(p, func() { a.showProof(p) }); err != nil {
		return err
	}
	if !p.Clean {
		return &brokenError{p.Broken}
	}
	return nil
}

// waiting tells a person at a terminal how long a call has taken, from its first
// second on; the function it returns ends that.
func (a *app) waiting(what string) (done func()) {
	if !a.tells {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		began := time.Now()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for drawn := false; ; drawn = true {
			select {
			case <-tick.C:
				fmt.Fprintf(a.err, "\r%s: %s …", what, time.Since(began).Round(time.Second))
			case <-stop:
				if drawn {
					fmt.Fprint(a.err, "\r\033[K")
				}
				return
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

// ago makes "10m", which a shell passes more easily, the "-10m" of the API.
func ago(text string) string {
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return "-" + strings.TrimPrefix(text, "+")
	}
	return text
}

// brokenError says that the guarantees are broken.
type brokenError struct{ violations int64 }

func (e *brokenError) Error() string {
	if e.violations == 1 {
		return "the guarantees are broken: 1 violation"
	}
	return fmt.Sprintf("the guarantees are broken: %d violations", e.violations)
}

func (a *app) showProof(p api.Proof) {
	broken := map[string]int{}
	for _, v := range p.Violations {
		broken[v.Rule]++
	}
	rows := make([][]string, 0, len(p.Checked))
	for _, rule := range slices.Sorted(maps.Keys(p.Checked)) {
		state := "ok"
		if n := broken[rule]; n > 0 {
			state = strconv.Itoa(n) + " broken"
		}
		rows = append(rows, []string{clean(rule), strconv.FormatInt(p.Checked[rule], 10), a.paint(state)})
	}
	a.table([]string{"rule", "checked", "result"}, rows)
	fmt.Fprintln(a.out)
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	some := func(n int64) string {
		if n == 0 {
			return ""
		}
		return number(n)
	}
	rate := ""
	if p.TookMS > 0 {
		rate = fmt.Sprintf(", %d records a second", p.Records*1000/p.TookMS)
	}
	a.fields("records", fmt.Sprintf("%d, %s to %s", p.Records, dash(p.First), dash(p.Last)), "dropped by the cap", some(p.Trimmed),
		"whole cycles", number(p.Cycles), "open", number(p.Open), "began before", number(p.Partial), "without plan", some(p.Unplanned),
		"compared", fmt.Sprintf("%d flows, %d cycles, %d nodes", p.Flows, p.Compared, p.Nodes), "always in motion", some(p.Moving),
		"repairs", number(p.Repairs), "claims restored", some(p.Restored), "cycles torn", some(p.Torn), "violations", number(p.Broken),
		"took", fmt.Sprintf("%dms%s", p.TookMS, rate))
	a.showSlots(p.Slots)
	if len(p.Violations) == 0 {
		return
	}
	shown := p.Violations[:min(shownViolations, len(p.Violations))]
	rows = make([][]string, len(shown))
	for i, v := range shown {
		where := dash(v.FlowID)
		if v.Cycle > 0 {
			where += "/" + strconv.FormatInt(v.Cycle, 10)
		}
		if v.NodeID != "" {
			where += "/" + clean(v.NodeID)
		}
		rows[i] = []string{clean(v.Rule), clean(cmp.Or(v.Record, v.Key)), dash(v.At.String()), where, clean(v.Message)}
	}
	fmt.Fprintln(a.out)
	a.table([]string{"rule", "record or key", "at", "where", "what"}, rows)
	if more := p.Broken - int64(len(shown)); more > 0 {
		fmt.Fprintf(a.out, "… %d more; -o json lists up to 1000\n", more)
	}
}

// showSlots tells what became of the slots of each flow.
func (a *app) showSlots(all []api.SlotCount) {
	if len(all) == 0 {
		return
	}
	rows := make([][]string, 0, shownViolations)
	for _, s := range all[:min(shownViolations, len(all))] {
		total, reasons := int64(0), make([]string, 0, len(s.Skipped))
		for _, reason := range slices.Sorted(maps.Keys(s.Skipped)) {
			total += s.Skipped[reason]
			reasons = append(reasons, fmt.Sprintf("%s %d", clean(reason), s.Skipped[reason]))
		}
		skipped := strconv.FormatInt(total, 10)
		if total > 0 {
			skipped += " (" + strings.Join(reasons, ", ") + ")"
		}
		rows = append(rows, []string{clean(s.FlowID), strconv.FormatInt(s.Due, 10), strconv.FormatInt(s.Started, 10), skipped, strconv.FormatInt(s.Pending, 10)})
	}
	fmt.Fprintln(a.out)
	a.table([]string{"flow", "slots due", "started", "skipped", "pending"}, rows)
	if more := len(all) - len(rows); more > 0 {
		fmt.Fprintf(a.out, "… %d more flows; -o json lists them all\n", more)
	}
}
