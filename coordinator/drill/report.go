package drill

import (
	"slices"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
)

// lateAfter is how long after its slot a cycle may start and still be on time.
const lateAfter = 50 * time.Millisecond

// Report is the verdict of a drill.
type Report struct {
	Fault      Fault   `json:"fault"`
	Pass       bool    `json:"pass"`
	Seed       uint64  `json:"seed"`
	IntervalMS int64   `json:"interval_ms"`
	LimitMS    int64   `json:"limit_ms"`
	Recovery   *Spread `json:"recovery,omitempty"` // of the rounds that recovered
	Leadership *Spread `json:"leadership,omitempty"`
	Rounds     []Round `json:"rounds"`
}

// Spread is the middle and the ends of a measure over the rounds.
type Spread struct {
	MinMS    int64 `json:"min_ms"`
	MedianMS int64 `json:"median_ms"`
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
	var recovery, leadership []int64
	r.Pass = len(r.Rounds) > 0
	for i := range r.Rounds {
		round := &r.Rounds[i]
		r.Pass = r.Pass && round.Pass
		if round.RecoveryMS != nil {
			recovery = append(recovery, *round.RecoveryMS)
		}
		if round.LeadershipMS != nil {
			leadership = append(leadership, *round.LeadershipMS)
		}
	}
	r.Recovery, r.Leadership = spread(recovery), spread(leadership)
}

func spread(ms []int64) *Spread {
	if len(ms) == 0 {
		return nil
	}
	slices.Sort(ms)
	return &Spread{MinMS: ms[0], MedianMS: ms[len(ms)/2], MaxMS: ms[len(ms)-1]}
}
