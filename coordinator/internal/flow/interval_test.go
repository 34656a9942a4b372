package flow

import (
	"strings"
	"testing"
	"time"
)

func TestParseInterval(t *testing.T) {
	const day = 24 * time.Hour
	good := map[string]time.Duration{
		"10s": 10 * time.Second, "5m": 5 * time.Minute, "1h": time.Hour, "1d": day, "90s": 90 * time.Second, "5 m": 5 * time.Minute,
		" 60 ": time.Minute, "60": time.Minute, "5": 5 * time.Second, "0.5": 500 * time.Millisecond, "250ms": 250 * time.Millisecond,
		"1.5s": 1500 * time.Millisecond, "1h30m": 90 * time.Minute, "1d 12h": 36 * time.Hour, "1m500ms": time.Minute + 500*time.Millisecond,
		"0": 0, "0s": 0, "once": 0, "manual": 0, "366d": 366 * day, "007s": 7 * time.Second,
	}
	for s, want := range good {
		if got, err := parseInterval(s); err != nil || got != want {
			t.Errorf("%q gives %s, %v; want %s", s, got, err, want)
		}
	}
	bad := map[string]string{
		"": "is empty", "-5m": "is negative", "+5m": "not a duration", "5M": "not a duration", "1w": "not a duration", "5 minutes": "not a duration",
		"sometimes": "not a duration", "periodic": "not a duration", "m": "not a duration", "5m5": "not a duration", ".5s": "not a duration",
		"5.s": "not a duration", "1.2.3s": "not a duration", "1e3": "not a duration", "0x10s": "not a duration", "٥m": "not a duration",
		"*/5 * * * *": "belongs in the field cron", "0 0 * * * *": "belongs in the field cron", "@hourly": "belongs in the field cron",
		"0.0001s": "whole number of milliseconds", "99999999999999999999d": "too long", strings.Repeat("9", 1000): "too long",
	}
	for s, want := range bad {
		if d, err := parseInterval(s); err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 250 {
			t.Errorf("%q gives %s, %v; want %q", s, d, err, want)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0ms", 250 * time.Millisecond: "250ms", 30 * time.Second: "30s", 90 * time.Second: "90s", 10 * time.Minute: "10m", 24 * time.Hour: "1d", 36 * time.Hour: "36h",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%s is written %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0", 100 * time.Millisecond: "0.1", 1250 * time.Millisecond: "1.25", 100 * time.Second: "100", 1_001 * time.Millisecond: "1.001",
	} {
		if got := formatSeconds(d); got != want {
			t.Errorf("%s is written %q, want %q", d, got, want)
		}
	}
}
