package drill

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
)

// judge adds what speaks against the round to its reasons. Late cycles, skipped
// slots and repeated executions are what a fault costs: they are told, not
// judged. What is lost, broken or too slow is.
func (r *Round) judge(limit time.Duration) {
	fail := func(format string, args ...any) { r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...)) }
	if len(r.Proofs) == 0 && !r.InjectedAt.IsZero() {
		fail("fault was not injected: nothing shows that it took effect")
	}
	if !r.InjectedAt.IsZero() && r.RecoveryMS == nil {
		fail("the cluster did not recover")
	}
	if r.RecoveryMS != nil && *r.RecoveryMS > limit.Milliseconds() {
		fail("recovery took %d ms; %d ms are allowed", *r.RecoveryMS, limit.Milliseconds())
	}
	for _, status := range slices.Sorted(maps.Keys(r.Cycles)) {
		switch n := r.Cycles[status]; {
		case status == api.CycleCompleted:
		case status == gone:
			fail("%d cycles were kept no more before their end was seen; choose a longer interval", n)
		case api.CycleEnded(status):
			fail("%d cycles ended %s", n, status)
		case r.Proof != nil:
			fail("%d cycles are still %s", n, status)
		}
	}
	if r.Partial > 0 {
		fail("%d cycles completed without running every node", r.Partial)
	}
	skipped := int64(0)
	for _, n := range r.Slots.Skipped {
		skipped += n
	}
	if s := r.Slots; s.Due != s.Started+skipped+s.Pending {
		fail("%d slots were due, but %d started + %d skipped + %d pending", s.Due, s.Started, skipped, s.Pending)
	}
	switch {
	case r.Proof == nil && len(r.Reasons) == 0:
		fail("the journal was not verified")
	case r.Proof != nil && !r.Proof.Clean:
		fail("the journal breaks the guarantees: %d violations", r.Proof.Broken)
	}
	r.Pass = len(r.Reasons) == 0
}
