package api_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tradingflow/weather-station/coordinator/api"
)

func TestTimeIsUTCWithMilliseconds(t *testing.T) {
	zone := time.FixedZone("x", 2*3600)
	for name, tc := range map[string]struct {
		in   api.Time
		want string
	}{
		"cut to milliseconds": {api.At(time.Date(2026, 1, 2, 5, 4, 5, 678_999_999, zone)), `"2026-01-02T03:04:05.678Z"`},
		"whole second":        {api.At(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)), `"2026-01-02T03:04:05.000Z"`},
		"made by hand":        {api.Time{Time: time.Date(2026, 1, 2, 5, 4, 5, 0, zone)}, `"2026-01-02T03:04:05.000Z"`},
		"zero":                {api.At(time.Time{}), "null"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := json.Marshal(tc.in)
			if err != nil || string(b) != tc.want {
				t.Errorf("got %s, %v; want %s", b, err, tc.want)
			}
			var back api.Time
			if err := json.Unmarshal(b, &back); err != nil || !back.Equal(tc.in.Time) {
				t.Errorf("read back as %v, %v", back, err)
			}
		})
	}
	if s := (api.Time{}).String(); s != "" {
		t.Errorf("the zero Time is %q", s)
	}
}

func TestTimeReadsWhatOthersWrite(t *testing.T) {
	for in, want := range map[string]string{
		`"2026-01-02T05:04:05+02:00"`: "2026-01-02T03:04:05.000Z", `"2026-01-02T03:04:05.123456Z"`: "2026-01-02T03:04:05.123Z",
		`""`: "", "null": "",
	} {
		var got api.Time
		if err := json.Unmarshal([]byte(in), &got); err != nil || got.String() != want {
			t.Errorf("%s: got %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"1", `"yesterday"`, `"2026-01-02"`, "{}", "true", `"`} {
		var got api.Time
		if err := json.Unmarshal([]byte(in), &got); err == nil {
			t.Errorf("%s was read as %q", in, got)
		}
	}
}

func TestTimeSurvivesTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := api.At(time.UnixMilli(rapid.Int64Range(1, 253402300799999).Draw(t, "ms")))
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got api.Time
		if err := json.Unmarshal(b, &got); err != nil || got != want {
			t.Fatalf("%s came back as %v, %v", b, got, err)
		}
	})
}

func TestWhatHasNotComeYetIsLeftOut(t *testing.T) {
	b, err := json.Marshal(api.Cycle{Nodes: []api.Node{{}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, absent := range []string{"slot", "started_at", "completed_at", "error", "archived", "worker", "blocker", "inputs", "outputs"} {
		if strings.Contains(string(b), `"`+absent+`":`) {
			t.Errorf("%s is written without a value: %s", absent, b)
		}
	}
	for _, present := range []string{"cycle", "status", "total_nodes", "completed_nodes", "duration_seconds", "node_id", "attempt", "retry_count"} {
		if !strings.Contains(string(b), `"`+present+`":`) {
			t.Errorf("%s is missing: %s", present, b)
		}
	}
}

func TestCycleEnded(t *testing.T) {
	for status, want := range map[string]bool{api.CycleRunning: false, api.CycleCancelling: false, "": false, "other": false,
		api.CycleCompleted: true, api.CycleFailed: true, api.CycleCancelled: true, api.CycleTimeout: true} {
		if got := api.CycleEnded(status); got != want {
			t.Errorf("CycleEnded(%q) = %v", status, got)
		}
	}
}

func TestFaultAsText(t *testing.T) {
	if got := (api.Fault{Code: "c", Place: "p", Message: "m"}).String(); got != "p: m" {
		t.Errorf("got %q", got)
	}
	if got := (api.Fault{Code: "c", Message: "m"}).String(); got != "m" {
		t.Errorf("got %q", got)
	}
}
