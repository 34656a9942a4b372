package flow

import (
	"fmt"
	"math/big"
	"strings"
	"time"
)

// timeUnit is a unit of durations.
type timeUnit struct {
	name string
	size time.Duration
}

// units returns the units of durations, from the smallest.
func units() [5]timeUnit {
	return [5]timeUnit{{"ms", time.Millisecond}, {"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", 24 * time.Hour}}
}

// longestDuration is the longest text that is looked at as a duration.
const longestDuration = 40

// parseInterval reads an interval: a duration, or a plain number of seconds.
// Zero, "once" and "manual" mean that there is no schedule and give 0. The
// error says what is wrong with the text, without naming the field.
func parseInterval(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "once" || s == "manual":
		return 0, nil
	case looksLikeCron(s):
		return 0, fmt.Errorf("%q is a cron expression; it belongs in the field cron", clip(s))
	}
	unitless := s != "" && strings.Trim(s, "0123456789.") == ""
	if unitless {
		s += "s"
	}
	d, err := parseDuration(s)
	if err != nil {
		return 0, err
	}
	return d, nil
}

// parseDuration reads one or more numbers with units, such as 250ms, 1.5s,
// "5 m", 1h30m or 1d. The sum must be a whole number of milliseconds.
func parseDuration(s string) (time.Duration, error) {
	shown, rest := clip(s), strings.TrimSpace(s)
	switch {
	case rest == "":
		return 0, fmt.Errorf("is empty; give a duration such as 250ms, 30s, 5m, 1h30m or 1d")
	case len(rest) > longestDuration:
		return 0, fmt.Errorf("%q is too long for a duration", shown)
	case rest[0] == '-':
		return 0, fmt.Errorf("%q is negative", shown)
	}
	total := new(big.Rat)
	for rest != "" {
		n := 0
		for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || rest[n] == '.') {
			n++
		}
		number := rest[:n]
		rest = strings.TrimLeft(rest[n:], " ")
		size := unit(&rest)
		amount, ok := new(big.Rat).SetString(number)
		if size == 0 || !ok || strings.HasPrefix(number, ".") || strings.HasSuffix(number, ".") {
			return 0, fmt.Errorf("%q is not a duration; write a number and a unit of ms, s, m, h, d, such as 30s or 5m", shown)
		}
		total.Add(total, amount.Mul(amount, new(big.Rat).SetInt64(size.Milliseconds())))
		rest = strings.TrimLeft(rest, " ")
	}
	const most = int64(1<<63-1) / int64(time.Millisecond)
	switch {
	case !total.IsInt():
		return 0, fmt.Errorf("%q is not a whole number of milliseconds", shown)
	case !total.Num().IsInt64() || total.Num().Int64() > most:
		return 0, fmt.Errorf("%q is too long", shown)
	}
	return time.Duration(total.Num().Int64()) * time.Millisecond, nil
}

// unit takes a unit off the front of s, which ends there or goes on with a
// space or a digit. It returns 0 when there is none.
func unit(s *string) time.Duration {
	for _, u := range units() {
		rest, ok := strings.CutPrefix(*s, u.name)
		if ok && (rest == "" || rest[0] == ' ' || rest[0] >= '0' && rest[0] <= '9') {
			*s = rest
			return u.size
		}
	}
	return 0
}

// looksLikeCron tells whether a text was meant for the field cron.
func looksLikeCron(s string) bool {
	if strings.HasPrefix(s, "@") {
		return true
	}
	n := len(strings.Fields(s))
	return (n == 5 || n == 6) && strings.ContainsAny(s, "*0123456789?")
}

// formatDuration writes a duration in the largest unit that divides it.
func formatDuration(d time.Duration) string {
	all := units()
	for i := len(all) - 1; i > 0; i-- {
		if d%all[i].size == 0 && d != 0 {
			return fmt.Sprintf("%d%s", d/all[i].size, all[i].name)
		}
	}
	return fmt.Sprintf("%dms", d.Milliseconds())
}

// formatSeconds writes a duration of whole milliseconds in seconds, exactly.
func formatSeconds(d time.Duration) string {
	s := fmt.Sprintf("%d.%03d", d/time.Second, d%time.Second/time.Millisecond)
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}
