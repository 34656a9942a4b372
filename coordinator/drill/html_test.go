package drill

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
)

func TestPageHoldsTheTimeline(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	bar := func(n int64, from, to time.Duration, repeated int) Bar {
		return Bar{Cycle: n, Slot: api.At(at.Add(from)), StartedAt: api.At(at.Add(from)), EndedAt: api.At(at.Add(to)), Status: api.CycleCompleted, Repeated: repeated}
	}
	r := Report{Fault: LeaderKill, Rounds: []Round{{Number: 1, InjectedAt: api.At(at.Add(time.Second)), HealedAt: api.At(at.Add(3 * time.Second)),
		LeadershipMS: ms(40), RecoveryMS: ms(500), Reasons: []string{"<script>alert(1)</script>"},
		Timeline: []Bar{bar(1, 0, 2*time.Second, 1), bar(2, 2*time.Second, 4*time.Second, 0)}}}}
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{
		`<svg class="timeline"`, `<rect class="repeated" x="60.0" y="24" width="450.0"`, `<rect class="completed" x="510.0" y="29" width="450.0"`,
		`<line class="fault" x1="285.0"`, `<line class="leadership" x1="294.0"`, `<line class="recovery" x1="397.5"`, `<line class="healed" x1="735.0"`,
		`&lt;script&gt;`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if m := regexp.MustCompile(`(?i)https?://|<script|<link|@import|\burl\(|\bsrc=`).FindString(page); m != "" {
		t.Errorf("the page needs something from elsewhere: %s", m)
	}
}

func TestPageOfARoundThatNeverTicked(t *testing.T) {
	var b bytes.Buffer
	r := Report{Fault: EtcdRestart, Rounds: []Round{{Number: 1, Reasons: []string{"the canary can't be registered"}}}}
	if err := r.WriteHTML(&b); err != nil || !strings.Contains(b.String(), "the canary can&#39;t be registered") {
		t.Errorf("%v:\n%s", err, b.String())
	}
}
