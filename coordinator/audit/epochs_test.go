package audit

import (
	"fmt"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// A Redis that lost its last writes can lose a takeover and keep what that leader
// wrote after it; that it was restarted is noted by the next one.
func TestATakeoverThatRedisLost(t *testing.T) {
	for _, x := range []struct {
		name  string
		note  string
		clean bool
	}{
		{"Redis was restarted", ledger.RedisRestarted + ": 3 claim: lost", true},
		{"something else happened", "etcd was rebuilt: 2 flows restored", false},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := &source{}
			add := func(op string, epoch ids.Epoch, detail string) {
				n := begins + int64(len(s.records))
				s.records = append(s.records, ledger.Record{ID: fmt.Sprintf("%d-0", n), At: time.UnixMilli(n), Op: op, Epoch: epoch, Detail: detail})
			}
			add("takeover", 5, "")
			add("clock_set", 7, "0 0")
			add("takeover", 9, "")
			if p := audit(t, s, Range{}); p.Clean {
				t.Fatal("before the note it is a violation")
			}
			add("recovery", 0, x.note)
			if p := audit(t, s, Range{}); p.Clean != x.clean {
				t.Errorf("clean is %v: %+v", p.Clean, p.Violations)
			}
		})
	}
}
