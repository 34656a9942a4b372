package chaos

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/chaos/rig"
)

// Result is what a row came to.
type Result struct {
	Row        string        `json:"row"`
	Title      string        `json:"title"`
	Seed       uint64        `json:"seed"`
	Asked      int           `json:"asked"`
	Faults     int           `json:"faults"`
	OK         bool          `json:"ok"`
	Took       time.Duration `json:"took_ns"`
	Figures    []*Figure     `json:"figures"`
	Judged     rig.Verdict   `json:"judged"`
	Violations []string      `json:"violations"`
	Evidence   string        `json:"evidence,omitempty"` // folder
}

// Figure is a measured time and what it may be at most.
type Figure struct {
	Name   string        `json:"name"`
	N      int           `json:"n"`
	P50    time.Duration `json:"p50_ns"`
	P99    time.Duration `json:"p99_ns"`
	Max    time.Duration `json:"max_ns"`
	Limits string        `json:"limits,omitempty"`
	OK     bool          `json:"ok"`

	all                        []time.Duration
	limit50, limit99, limitMax time.Duration
}

func (r *Result) figure(name string) *Figure {
	for _, f := range r.Figures {
		if f.Name == name {
			return f
		}
	}
	f := &Figure{Name: name}
	r.Figures = append(r.Figures, f)
	return f
}

func (f *Figure) add(d time.Duration) { f.all = append(f.all, d) }

// close computes the figure and holds it against its limits.
func (f *Figure) close() (faults []string) {
	slices.Sort(f.all)
	f.N, f.OK = len(f.all), true
	if f.N == 0 {
		return nil
	}
	at := func(p float64) time.Duration { return f.all[min(f.N-1, int(p*float64(f.N)))] }
	f.P50, f.P99, f.Max = at(0.5), at(0.99), f.all[f.N-1]
	var limits []string
	hold := func(name string, got, limit time.Duration) {
		if limit == 0 {
			return
		}
		limits = append(limits, fmt.Sprintf("%s ≤ %s", name, limit))
		if got > limit {
			f.OK = false
			faults = append(faults, fmt.Sprintf("%s: %s is %s; %s is allowed", f.Name, name, got.Round(time.Millisecond), limit))
		}
	}
	hold("p50", f.P50, f.limit50)
	hold("p99", f.P99, f.limit99)
	hold("max", f.Max, f.limitMax)
	f.Limits = strings.Join(limits, ", ")
	return faults
}

// take adds what a judge found.
func (r *Result) take(v rig.Verdict) {
	r.Violations = append(r.Violations, v.Violations...)
	v.Violations = nil
	j := &r.Judged
	j.Cycles += v.Cycles
	j.Claims += v.Claims
	j.Runs += v.Runs
	j.Again += v.Again
	j.Skipped += v.Skipped
	j.Unknown += v.Unknown
	j.Repairs += v.Repairs
	j.Records += v.Records
}

func (r *Result) close(took time.Duration) {
	r.Took = took
	for _, f := range r.Figures {
		r.Violations = append(r.Violations, f.close()...)
	}
	if r.Faults < r.Asked {
		r.Violations = append(r.Violations, fmt.Sprintf("%d faults were asked for and %d were brought about", r.Asked, r.Faults))
	}
	r.OK = len(r.Violations) == 0
}

// write writes the result to a file.
func (r *Result) write(path string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err == nil {
		err = os.WriteFile(path, b, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// shown is how many violations a table lists.
const shown = 8

// Print prints results as a table.
func Print(w io.Writer, results []*Result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%-5s %-42s %7s %8s %8s %6s %9s  %s\n", "row", "fault", "faults", "cycles", "runs", "again", "took", "verdict")
	for _, r := range results {
		verdict := "ok"
		if !r.OK {
			verdict = fmt.Sprintf("%d VIOLATIONS, seed %d, evidence in %s", len(r.Violations), r.Seed, r.Evidence)
		}
		fmt.Fprintf(&b, "%-5s %-42s %7d %8d %8d %6d %9s  %s\n", r.Row, clip(r.Title, 42), r.Faults, r.Judged.Cycles, r.Judged.Runs, r.Judged.Again, r.Took.Round(100*time.Millisecond), verdict)
		for _, f := range r.Figures {
			if f.N == 0 {
				continue
			}
			mark := ""
			if !f.OK {
				mark = "  MISSED"
			}
			fmt.Fprintf(&b, "        %-30s n %5d  p50 %8s  p99 %8s  max %8s  %s%s\n", f.Name, f.N, ms(f.P50), ms(f.P99), ms(f.Max), f.Limits, mark)
		}
		for i, v := range r.Violations {
			if i == shown {
				fmt.Fprintf(&b, "      ! %d more\n", len(r.Violations)-shown)
				break
			}
			fmt.Fprintf(&b, "      ! %s\n", clip(v, 400))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func ms(d time.Duration) string { return d.Round(time.Millisecond).String() }

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n-2] + ".."
}
