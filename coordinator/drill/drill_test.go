package drill

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
)

func ms(n int64) *int64 { return &n }

// passed is a round against which nothing speaks.
func passed() Round {
	at := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	return Round{Number: 1, Canary: "drill-canary-1", Leader: "c-1", Epoch: 3, Proofs: []string{"c-1 is gone"}, InjectedAt: api.At(at),
		LeadershipMS: ms(50), StartedMS: ms(60), CompletedMS: ms(200), RecoveryMS: ms(200),
		Slots: api.Slots{Due: 12, Started: 10, Skipped: map[string]int64{"missed": 1}, Pending: 1}, Cycles: map[string]int64{api.CycleCompleted: 10},
		Proof:    &api.Proof{Clean: true},
		Timeline: []Bar{{Cycle: 1, Slot: api.At(at), StartedAt: api.At(at.Add(time.Millisecond)), EndedAt: api.At(at.Add(200 * time.Millisecond)), Status: api.CycleCompleted}}}
}

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Round)
		want   string // part of a reason; "" = pass
	}{
		"nothing speaks against it":  {func(*Round) {}, ""},
		"late and repeated are told": {func(r *Round) { r.Late, r.Repeated, r.Lost = 3, 2, 1 }, ""},
		"not injected":               {func(r *Round) { r.Proofs = nil }, "fault was not injected"},
		"not recovered":              {func(r *Round) { r.RecoveryMS = nil }, "did not recover"},
		"too slow":                   {func(r *Round) { r.RecoveryMS = ms(1001) }, "took 1001 ms; 1000 ms are allowed"},
		"a failed cycle":             {func(r *Round) { r.Cycles[api.CycleFailed] = 2 }, "2 cycles ended failed"},
		"a cycle that never ends":    {func(r *Round) { r.Cycles[api.CycleRunning] = 1 }, "1 cycles are still running"},
		"a node that never ran":      {func(r *Round) { r.Partial = 1 }, "without running every node"},
		"a lost slot":                {func(r *Round) { r.Slots.Due++ }, "13 slots were due"},
		"not verified":               {func(r *Round) { r.Proof = nil }, "not verified"},
		"a broken guarantee":         {func(r *Round) { r.Proof.Clean, r.Proof.Broken = false, 4 }, "4 violations"},
	} {
		t.Run(name, func(t *testing.T) {
			r := passed()
			c.change(&r)
			r.judge(time.Second)
			reasons := strings.Join(r.Reasons, "; ")
			if r.Pass != (c.want == "") || !strings.Contains(reasons, c.want) {
				t.Errorf("pass %v, reasons %q; want %q", r.Pass, reasons, c.want)
			}
		})
	}
}

func TestSumNeedsEveryRound(t *testing.T) {
	good, bad := passed(), passed()
	good.Pass, bad.Pass, bad.RecoveryMS = true, false, ms(900)
	r := Report{Rounds: []Round{good, bad}}
	r.sum()
	if r.Pass || r.Recovery == nil || r.Recovery.MinMS != 200 || r.Recovery.MaxMS != 900 {
		t.Errorf("pass %v, recovery %+v", r.Pass, r.Recovery)
	}
	empty := Report{}
	if empty.sum(); empty.Pass || empty.Recovery != nil {
		t.Error("a drill without rounds passed")
	}
}

// The page draws the cycles and names no outside host.
func TestHTMLStandsAlone(t *testing.T) {
	round := passed()
	round.Canary = "<script>alert(1)</script>"
	r := Report{Fault: LeaderKill, Pass: true, Rounds: []Round{round}}
	var b strings.Builder
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{"<svg", "<rect", "leader-kill"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	for _, never := range []string{"http://", "https://", "<script>alert", "src="} {
		if strings.Contains(strings.ReplaceAll(page, "http://www.w3.org/2000/svg", ""), never) {
			t.Errorf("the page holds %s", never)
		}
	}
}

func TestNamesFitIntoCommands(t *testing.T) {
	got, err := substitute("kubectl delete pod {leader} {worker}", Names{Leader: "c-1", Worker: "w.2"})
	if err != nil || got != "kubectl delete pod c-1 w.2" {
		t.Errorf("%q, %v", got, err)
	}
	for _, n := range []Names{{Leader: "a; rm -rf x"}, {Leader: "$(x)"}, {Leader: ""}, {Leader: "-rf"}} {
		if got, err := substitute("kill {leader}", n); err == nil {
			t.Errorf("%q became %q", n.Leader, got)
		}
	}
}

func TestCommandThatFailsIsNoInjection(t *testing.T) {
	c, err := NewCommand("echo no such pod; exit 3", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Inject(t.Context(), LeaderKill, Names{}); err == nil || !strings.Contains(err.Error(), "no such pod") {
		t.Errorf("error %v does not tell what the command said", err)
	}
	if _, err := NewCommand(" ", ""); err == nil {
		t.Error("an empty command was taken")
	}
}

func TestScrapeReadsRefusedLeaderships(t *testing.T) {
	text := "station_epoch 3\nstation_fenced_total 2\n"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }))
	defer s.Close()
	if n, err := (Scrape{HTTP: s.Client()}).Refused(t.Context(), s.URL+"/"); err != nil || n != 2 {
		t.Errorf("%d, %v", n, err)
	}
	text = "station_epoch 3\n"
	if _, err := (Scrape{HTTP: s.Client()}).Refused(t.Context(), s.URL); err == nil {
		t.Error("a metric that is not served was read")
	}
}

func TestConfigListsAllFaults(t *testing.T) {
	_, err := Run(context.Background(), Config{Fault: "leader-tickle", Interval: time.Millisecond})
	for _, want := range []string{"Target", "leader-tickle", "interval", "rounds", "limit", "poll"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
}
