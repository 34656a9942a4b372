//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Enabled says whether this build has failpoints.
const Enabled = true

// variable names what is to fail.
const variable = "STATION_FAILPOINT"

// exitCode is that of a process that was killed.
const exitCode = 137

type trap struct {
	nth    int64
	action func(point string)
	passed atomic.Int64
}

// traps is read-only after the start, so a pass costs a look into a small map.
var traps = must(parse(os.Getenv(variable)))

// Before marks the moment before a step.
func Before(step string) { hit("before-" + step) }

// After marks the moment after a step.
func After(step string) { hit("after-" + step) }

func hit(point string) {
	if t := traps[point]; t != nil && t.passed.Add(1) == t.nth {
		t.action(point)
	}
}

func must(traps map[string]*trap, err error) map[string]*trap {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", variable, err)
		os.Exit(2)
	}
	return traps
}

func parse(text string) (map[string]*trap, error) {
	out := map[string]*trap{}
	if text == "" {
		return out, nil
	}
	for one := range strings.SplitSeq(text, ",") {
		point, rest, _ := strings.Cut(strings.TrimSpace(one), ":")
		times, action, _ := strings.Cut(rest, ":")
		if !strings.HasPrefix(point, "before-") && !strings.HasPrefix(point, "after-") {
			return nil, fmt.Errorf("point %q: want before-STEP or after-STEP", point)
		}
		t := &trap{nth: 1}
		if times != "" {
			n, err := strconv.ParseInt(times, 10, 64)
			if err != nil || n < 1 {
				return nil, fmt.Errorf("point %s: pass %q: want a number from 1 on", point, times)
			}
			t.nth = n
		}
		var err error
		if t.action, err = parseAction(action); err != nil {
			return nil, fmt.Errorf("point %s: %w", point, err)
		}
		out[point] = t
	}
	return out, nil
}

func parseAction(text string) (func(point string), error) {
	switch name, value, _ := strings.Cut(text, "="); name {
	case "", "exit":
		return func(point string) {
			fmt.Fprintln(os.Stderr, "failpoint: exit at", point)
			os.Exit(exitCode)
		}, nil
	case "panic":
		return func(point string) { panic("failpoint: " + point) }, nil
	case "sleep":
		d, err := time.ParseDuration(value)
		if err != nil {
			return nil, fmt.Errorf("action %q: %w", text, err)
		}
		return func(string) { <-time.After(d) }, nil
	}
	return nil, fmt.Errorf("action %q: want exit, panic or sleep=DURATION", text)
}
