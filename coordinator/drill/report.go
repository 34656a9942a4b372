package drill

import (
	"fmt"
	"slices"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
)

// lateAfter is how long after its slot a cycle may start and still be on time.
const lateAfter = 50 * time.Millisecond

// Report is the verdict of a drill.
type Report struct {
	Fault      Fault    `json:"fault"`
	Pass       bool     `json:"pass"`
	Seed       uint64   `json:"seed"`
	IntervalMS int64    `json:"interval_ms"`
	LimitMS    int64    `json:"limit_ms"`
	WithinMS   int64    `json:"within_ms,omitzero"` // that the 99th percentile of the exact measure may last
	Reasons    []string `json:"reasons,omitempty"`  // against the drill as a whole
	Recovery   *Spread  `json:"recovery,omitempty"` // of the rounds that recovered
	Leadership *Spread  `json:"leadership,omitempty"`
	Dispatch   *Spread  `json:"dispatch,omitempty"`
	Gap        *Spread  `json:"gap,omitempty"`
	Rerun      *Spread  `json:"rerun,omitempty"`
	Rounds     []Round  `json:"rounds"`
}

// Spread is how a measure lies over the rounds. A percentile is the smallest value
// that so many of them do not pass.
type Spread struct {
	N        int   `json:"n"`
	MinMS    int64 `json:"min_ms"`
	MedianMS int64 `json:"median_ms"`
	P90MS    int64 `json:"p90_ms"`
	P99MS    int64 `json:"p99_ms"`
	MaxMS    int64 `json:"max_ms"`
}

// Round is one fault and what it cost. Durations count from InjectedAt; an absent
// one did not come. RecoveryMS is the time to the first complete cycle that
// started after the fault and, when a worker was hit, to the end of the cycle
// whose node it ran.
type Round struct {
	Number     int      `json:"number"`
	Pass       bool     `json:"pass"`
	Reasons    []string `json:"reasons,omitempty"`
	Canary     string   `json:"canary"`
	Leader     string   `json:"leader"`
	Epoch      int64    `json:"epoch"`
	Worker     string   `json:"worker,omitempty"`
	Proofs     []string `json:"proofs,omitempty"` // what shows that the fault was injected
	InjectedAt api.Time `json:"injected_at,omitzero"`
	HealedAt   api.Time `json:"healed_at,omitzero"`

	NewLeader    string `json:"new_leader,omitempty"`
	NewEpoch     int64  `json:"new_epoch,omitzero"`
	LeadershipMS *int64 `json:"leadership_ms,omitempty"` // to the first look that showed a later epoch
	StartedMS    *int64 `json:"started_ms,omitempty"`    // to the start of the first cycle
	CompletedMS  *int64 `json:"completed_ms,omitempty"`  // to the end of the first cycle that started after the fault and completed
	VictimMS     *int64 `json:"hit_cycle_ms,omitempty"`  // to the end of the cycle whose node the worker ran
	RecoveryMS   *int64 `json:"recovery_ms,omitempty"`
	DispatchMS   *int64 `json:"dispatch_ms,omitempty"` // leader hit: from the fault to the first dispatch of a later epoch
	GapMS        *int64 `json:"gap_ms,omitempty"`      // leader hit: from the old leader's last dispatch to that one
	RerunMS      *int64 `json:"rerun_ms,omitempty"`    // worker hit: from the fault until all that it ran has begun again

	Slots     api.Slots        `json:"slots"`
	Cycles    map[string]int64 `json:"cycles"`      // by status
	Late      int              `json:"late_cycles"` // started more than 50 ms after their slot
	MaxLateMS int64            `json:"max_late_ms"`
	Repeated  int              `json:"repeated_executions"` // attempts beyond the first of a node
	Lost      int              `json:"lost_attempts"`
	Partial   int              `json:"partial_cycles"`     // completed without running every node
	Unseen    int              `json:"unseen_cycles"`      // ended, and gone before their nodes could be read
	Fenced    int64            `json:"fenced_leaderships"` // ended by a refused write
	Proof     *api.Proof       `json:"verify,omitempty"`
	Timeline  []Bar            `json:"timeline"`
	Leaders   []Reign          `json:"leaders"` // by their dispatches
}

// Bar is a cycle on the timeline.
type Bar struct {
	Cycle     int64    `json:"cycle"`
	Slot      api.Time `json:"slot,omitzero"`
	StartedAt api.Time `json:"started_at"`
	EndedAt   api.Time `json:"ended_at,omitzero"`
	Status    string   `json:"status"`
	Late      bool     `json:"late,omitempty"`
	Repeated  int      `json:"repeated,omitempty"`
}

// report measures and judges a round that was made.
func (r *round) report() Round {
	out := r.out
	out.Proofs, out.Slots, out.Proof, out.Reasons = r.proofs, r.slots, r.proof, slices.Clone(r.reasons)
	out.Cycles, out.Timeline = map[string]int64{}, []Bar{}
	for _, c := range r.cycles {
		out.add(c)
	}
	slices.SortFunc(out.Timeline, func(a, b Bar) int { return int(a.Cycle - b.Cycle) })
	if !r.at.IsZero() {
		out.measure(r)
	}
	out.exact(r.records, r.at)
	out.judge(r.cfg.Limit)
	return out
}

func (r *Round) add(c *seen) {
	r.Cycles[c.Status]++
	if c.Status == api.CycleCompleted && c.Succeeded < c.TotalNodes {
		r.Partial++
	}
	r.Repeated += c.repeated
	r.Lost += c.lost
	if api.CycleEnded(c.Status) && !c.detailed {
		r.Unseen++
	}
	b := Bar{Cycle: c.Cycle, Slot: c.Slot, StartedAt: c.StartedAt, EndedAt: c.CompletedAt, Status: c.Status, Repeated: c.repeated}
	if !c.Slot.IsZero() && !c.StartedAt.IsZero() {
		late := c.StartedAt.Sub(c.Slot.Time)
		if b.Late = late > lateAfter; b.Late {
			r.Late++
		}
		r.MaxLateMS = max(r.MaxLateMS, late.Milliseconds())
	}
	r.Timeline = append(r.Timeline, b)
}

func (r *Round) measure(of *round) {
	since := func(t time.Time) *int64 {
		if t.IsZero() {
			return nil
		}
		ms := t.Sub(of.at).Milliseconds()
		return &ms
	}
	if !of.changed.IsZero() {
		r.NewLeader, r.NewEpoch, r.LeadershipMS = of.leader.ID, of.leader.Epoch, since(of.changed)
	}
	started, completed := of.firsts(of.at)
	r.StartedMS, r.CompletedMS, r.RecoveryMS = since(started), since(completed), since(completed)
	if of.victim == 0 {
		return
	}
	r.RecoveryMS = nil
	if c := of.cycles[of.victim]; c != nil && c.over() {
		r.VictimMS = since(c.CompletedAt.Time)
		if r.CompletedMS != nil {
			longest := max(*r.CompletedMS, *r.VictimMS)
			r.RecoveryMS = &longest
		}
	}
}

// sum judges the whole drill.
func (r *Report) sum() {
	var recovery, leadership, dispatch, gap, rerun []int64
	r.Pass = len(r.Rounds) > 0
	for i := range r.Rounds {
		round := &r.Rounds[i]
		r.Pass = r.Pass && round.Pass
		if round.RecoveryMS != nil {
			recovery = append(recovery, *round.RecoveryMS)
		}
		for _, m := range []struct {
			all *[]int64
			ms  *int64
		}{{&leadership, round.LeadershipMS}, {&dispatch, round.DispatchMS}, {&gap, round.GapMS}, {&rerun, round.RerunMS}} {
			if m.ms != nil {
				*m.all = append(*m.all, *m.ms)
			}
		}
	}
	r.Recovery, r.Leadership = spread(recovery), spread(leadership)
	r.Dispatch, r.Gap, r.Rerun = spread(dispatch), spread(gap), spread(rerun)
	r.judge()
}

// judge holds the exact measure of the fault against what is allowed.
func (r *Report) judge() {
	if r.WithinMS == 0 {
		return
	}
	what, s := "time to the next dispatch", r.Dispatch
	switch {
	case r.Fault == LeaderTransfer:
		what, s = "time between the dispatches of the old and the new leader", r.Gap
	case r.Fault.hitsWorker():
		what, s = "time to the next run", r.Rerun
	}
	switch {
	case s == nil:
		r.Reasons = append(r.Reasons, fmt.Sprintf("the journal shows no %s", what))
	case s.P99MS > r.WithinMS:
		r.Reasons = append(r.Reasons, fmt.Sprintf("%s: 99 of 100 within %d ms; %d ms are allowed", what, s.P99MS, r.WithinMS))
	}
	r.Pass = r.Pass && len(r.Reasons) == 0
}

func spread(ms []int64) *Spread {
	if len(ms) == 0 {
		return nil
	}
	slices.Sort(ms)
	part := func(percent int) int64 { return ms[(len(ms)*percent+99)/100-1] }
	return &Spread{N: len(ms), MinMS: ms[0], MedianMS: part(50), P90MS: part(90), P99MS: part(99), MaxMS: ms[len(ms)-1]}
}
