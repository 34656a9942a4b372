package leader_test

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/internal/registry"
)

// crowd is how many flows rest in TestADueFlowDoesNotWaitForTheRest; STATION_TEST_FLOWS
// says how many to measure with.
func crowd(t *testing.T) int {
	t.Helper()
	text := os.Getenv("STATION_TEST_FLOWS")
	if text == "" {
		return 10_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// walked counts how often somebody goes through every flow.
type walked struct {
	*registry.Registry
	times atomic.Int64
}

func (w *walked) Each(do func(f *registry.Flow) bool) {
	w.times.Add(1)
	w.Registry.Each(do)
}

// TestADueFlowDoesNotWaitForTheRest: a leader takes over very many flows that rest,
// and one whose slots were due while nobody led. That one starts before the ledger has been
// asked for more than a few pages of the others, and nobody goes through them all.
func TestADueFlowDoesNotWaitForTheRest(t *testing.T) {
	c := start(t)
	c.put("zz", 1, uuid.New(), `"schedule_type":"periodic","interval_seconds":0.2,"overlap":"allow","nodes":[{"id":"a","type":"delay"}],"edges":[]`)
	var first, commands atomic.Int64 // when the first slot started, and how many commands Redis had run by then
	c.cfg.Metrics.Started = func() {
		if first.CompareAndSwap(0, time.Now().UnixNano()) {
			commands.Store(int64(c.redis.CommandCount()))
		}
	}
	stop, _ := c.lead(1)
	c.next(2)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	n := crowd(t)
	for i := range n {
		id, uid := fmt.Sprintf("crowd-%06d", i), uuid.New()
		c.put(id, 1, uid, fmt.Sprintf(`"schedule_type":"cron","cron":"%d %d 1 1 *","nodes":[{"id":"a","type":"delay"}],"edges":[]`, i%60, i/60%24))
		c.redis.HSet("station:flow:"+id+":state", "status", "active", "uid", uid.String(), "revision", "1", "active", "0", "last_cycle", "0")
		if _, err := c.redis.SetAdd("station:flows", id); err != nil {
			t.Fatal(err)
		}
	}
	c.flows.Foresee(time.Now()) // as a standby does
	flows := &walked{Registry: c.flows}
	c.cfg.Registry = flows
	first.Store(0)
	before, began := int64(c.redis.CommandCount()), time.Now()
	stop, _ = c.lead(2)
	c.until("the first slot", func() bool { return first.Load() != 0 && commands.Load() > before })
	took := time.Unix(0, first.Load()).Sub(began)
	t.Logf("with %d flows that rest, the first slot started after %s and %d commands", n, took, commands.Load()-before)
	if asked := commands.Load() - before; asked > 500 {
		t.Errorf("%d commands were run before the flow that was due started: it waited for the %d others", asked, n)
	}
	if n := flows.times.Load(); n > 0 {
		t.Errorf("every flow was gone through %d times before the one that was due started", n)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestALeaderTicksWhileTheCatalogLoads: what is known already runs, and nothing of the
// ledger is removed for not being known yet.
func TestALeaderTicksWhileTheCatalogLoads(t *testing.T) {
	c := start(t)
	c.put("f", 1, uuid.New(), diamond)
	c.put("late", 1, uuid.New(), diamond)
	stop, _ := c.lead(1)
	c.next(4)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	loaded := make(chan struct{})
	c.cfg.Loaded = loaded
	c.flows = registry.New(c.shelf, hclog.NewNullLogger()) // a coordinator that starts anew
	c.cfg.Registry = c.flows
	c.flows.Refresh("f")
	stop, _ = c.lead(2)
	runs := 0
	c.until("slots of the flow that is loaded", func() bool {
		if s := c.next(1); s.Flow == "f" {
			runs++
		}
		return runs > 10
	})
	if s, err := c.ledger.Flow(t.Context(), "late"); err != nil || s.Status != "active" {
		t.Errorf("a flow that is not loaded yet is %q, %v", s.Status, err)
	}
	c.flows.Refresh("late")
	c.until("slots of the flow that came late", func() bool { return c.next(1).Flow == "late" })
	c.drop("late")
	close(loaded)
	c.until("the removal of what the catalog does not have", func() bool {
		s, err := c.ledger.Flow(t.Context(), "late")
		return err != nil || s.Status == "deleting"
	})
	if err := stop(); err != nil {
		t.Error(err)
	}
}
