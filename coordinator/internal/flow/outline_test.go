package flow

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestOutlineSaysWhatTheDocumentSays holds outlines against the parser, for texts that
// look like fields as well.
func TestOutlineSaysWhatTheDocumentSays(t *testing.T) {
	nodes := `"nodes":[{"id":"a","type":"delay","parameters":{"pool":"none"}},{"id":"b","type":"delay"%s}],"edges":[]`
	for name, fields := range map[string]string{
		"periodic": `"schedule_type":"periodic","interval_seconds":1.5,"overlap":"allow","catchup":"none","catchup_window":"90s"`,
		"cron":     `"cron":"*/5 9-16 * * MON-FRI","timezone":"America/New_York"`,
		"manual":   `"schedule_type":"manual"`,
		"name":     `"name":",\"nodes\":[ \"schedule_type\":\"manual\"","interval_seconds":60`,
		"unknown":  `"interval_seconds":60,"a":{"schedule_type":"manual","nodes":[1],"pool":"x"},"z":",\"nodes\":["`,
		"on":       `"interval_seconds":60,"cycle_timeout":"30s","on_failure":"continue"`,
	} {
		for pools, more := range map[string]string{"default": "", "default fast": `,"pool":"fast"`} {
			f, err := Parse([]byte(`{"flow_id":"f",`+fields+`,`+fmt.Sprintf(nodes, more)+`}`), Options{})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			o, err := ReadOutline(f.Canonical())
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := ReadSchedule(o.Schedule)
			if err != nil || got != f.Schedule() {
				t.Errorf("%s: schedule %+v, %v; want %+v", name, got, err, f.Schedule())
			}
			if o.Pools == nil {
				o.Pools = []string{"default"}
			}
			if !slices.Equal(o.Pools, strings.Fields(pools)) {
				t.Errorf("%s: pools %q, want %q", name, o.Pools, pools)
			}
			s, err := ReadSummary(f.Canonical())
			if err != nil || s.Name != f.Name || s.Nodes != 2 {
				t.Errorf("%s: summary %+v, %v", name, s, err)
			}
		}
	}
	if o, err := ReadOutline([]byte(`{"nodes":[{"id":"a","type":"delay"}],"edges":[],"schedule_type":"manual","flow_id":"f"}`)); err != nil || o.Schedule == "" {
		t.Errorf("another order: %+v, %v", o, err)
	}
	for _, bad := range []string{``, `{}`, `[]`, `{"flow_id":"f","schedule_type":"manual","nodes":[{"pool":1}]}`} {
		if o, err := ReadOutline([]byte(bad)); err == nil {
			t.Errorf("%s gives %+v", bad, o)
		}
	}
	if s, err := ReadSchedule(`"schedule_type":"weekly"`); err == nil {
		t.Errorf("a schedule that nobody knows gives %+v", s)
	}
}
