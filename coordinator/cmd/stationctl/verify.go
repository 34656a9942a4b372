package main

import (
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
	From string `placeholder:"TIME" help:"Begin of the range: an RFC 3339 instant, or how long ago, as 10m; the journal's begin when left out."`
	To   string `placeholder:"TIME" help:"End of the range, as --from; now when left out."`
}

func (verifyCmd) Help() string {
	return "The exit code is 0 when the journal is clean and 1 when a record breaks a rule.\n\nExamples:\n\n" +
		"    stationctl verify\n    stationctl verify --from 10m --flow btc-momentum\n    stationctl verify -o json"
}

func (c *verifyCmd) Run(ctx context.Context, a *app) error {
	p, err := a.client.Verify(ctx, client.VerifyOptions{Flow: c.Flow, From: ago(c.From), To: ago(c.To)})
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

// ago makes "10m", which a shell passes more easily, the "-10m" of the API.
func ago(text string) string {
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return "-" + strings.TrimPrefix(text, "+")
	}
	return text
}

// brokenError says that the journal breaks the guarantees.
type brokenError struct{ violations int64 }

func (e *brokenError) Error() string {
	if e.violations == 1 {
		return "the journal breaks the guarantees: 1 violation"
	}
	return fmt.Sprintf("the journal breaks the guarantees: %d violations", e.violations)
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
	a.fields("records", fmt.Sprintf("%d, %s to %s, in %dms", p.Records, dash(p.First), dash(p.Last), p.TookMS),
		"whole cycles", number(p.Cycles), "open", number(p.Open), "began before", number(p.Partial), "without plan", some(p.Unplanned),
		"repairs", number(p.Repairs), "claims restored", some(p.Restored), "violations", number(p.Broken))
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
		rows[i] = []string{clean(v.Rule), clean(v.Record), dash(v.At.String()), where, clean(v.Message)}
	}
	fmt.Fprintln(a.out)
	a.table([]string{"rule", "record", "at", "where", "what"}, rows)
	if more := p.Broken - int64(len(shown)); more > 0 {
		fmt.Fprintf(a.out, "… %d more; -o json lists up to 1000\n", more)
	}
}
