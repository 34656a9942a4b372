package audit

import (
	"slices"
	"strings"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// torn knows which cycles a crash of Redis may have left with half a script: the
// leader put something back in them, and Redis was restarted. A half may have the
// state and lack the record, which nobody can write any more.
type torn struct {
	mended    map[ids.FlowID]map[int64]bool
	restarted bool
}

// repaired hears of a repair. That a message was lost says nothing of Redis.
func (t *torn) repaired(r ledger.Record) {
	kind, _, _ := strings.Cut(r.Detail, ": ")
	if kind == "message" || r.Cycle == 0 {
		return
	}
	if t.mended == nil {
		t.mended = map[ids.FlowID]map[int64]bool{}
	}
	if t.mended[r.Flow] == nil {
		t.mended[r.Flow] = map[int64]bool{}
	}
	t.mended[r.Flow][r.Cycle] = true
}

func (t *torn) recovered(r ledger.Record) {
	t.restarted = t.restarted || strings.HasPrefix(r.Detail, ledger.RedisRestarted+":")
}

// excuse drops what a missing record explains in the cycles that were torn, and counts
// those cycles. What no loss explains stays: a second outcome, a second start of an
// at-most-once node, slots, epochs, a claim against a hold.
func (c *checker) excuse() {
	if !c.torn.restarted {
		return
	}
	explained := []string{Inputs, Offers, Claims, Attempts, Ends, Counters, State}
	cycles := map[ids.FlowID]map[int64]bool{}
	c.found = slices.DeleteFunc(c.found, func(f finding) bool {
		if !slices.Contains(explained, f.Rule) || !c.torn.mended[f.Flow][f.Cycle] {
			return false
		}
		if cycles[f.Flow] == nil {
			cycles[f.Flow] = map[int64]bool{}
		}
		if !cycles[f.Flow][f.Cycle] {
			cycles[f.Flow][f.Cycle] = true
			c.proof.Torn++
		}
		c.proof.Broken--
		return true
	})
}
