package coordinator

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
)

// TestVeryManyFlowsWaitForTheFirstOffers of a leader, or a moment on a standby, and no
// longer than the coordinator runs.
func TestVeryManyFlowsWaitForTheFirstOffers(t *testing.T) {
	const never = time.Hour
	for name, c := range map[string]struct{ led, end, want time.Duration }{
		"elected soon":   {50 * time.Millisecond, never, 150 * time.Millisecond},
		"elected before": {-50 * time.Millisecond, never, 100 * time.Millisecond},
		"elected late":   {390 * time.Millisecond, never, 400 * time.Millisecond},
		"not elected":    {never, never, 400 * time.Millisecond},
		"ends":           {50 * time.Millisecond, 60 * time.Millisecond, 60 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var heard []ids.Epoch
				cfg := Config{Elected: func(e ids.Epoch) { heard = append(heard, e) }}
				calm := calmed(&cfg)
				ctx, end := context.WithCancel(t.Context())
				began := time.Now()
				if c.led < 0 {
					cfg.Elected(7)
				} else if c.led < never {
					time.AfterFunc(c.led, func() { cfg.Elected(7); cfg.Elected(9) })
				}
				time.AfterFunc(c.end, end)
				calm(ctx)
				took := time.Since(began)
				synctest.Wait()
				if took != c.want {
					t.Errorf("waits for %s, want %s", took, c.want)
				}
				if c.led < c.want && len(heard) == 0 {
					t.Error("who asked for it does not hear of the election")
				}
				end()
			})
		})
	}
}
