package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/deploy/dev/chaos/load"
	"github.com/tradingflow/weather-station/deploy/dev/chaos/rig"
)

// callers is how many clients race.
const callers = 4

// apiRaces has clients cancel cycles, pause, resume, edit, run, delete and make
// flows again while these run. Flows that are deleted are others than those that
// are judged to the end.
func apiRaces(ctx context.Context, t *Trial) error {
	c, err := t.Start(ctx, rig.Options{Coordinator: []string{"--keep-detailed", "2", "--keep-cycles", "5"}}, load.Config{Flows: 7})
	if err != nil {
		return err
	}
	doomed := load.Flows(load.Config{Seed: t.Seed + 1, Prefix: "doomed-", Flows: 7, Fast: -1, Once: -1})
	for _, f := range doomed {
		if _, err := c.API.Register(ctx, f.Text(), client.RegisterOptions{}); err != nil {
			return fmt.Errorf("register %s: %w", f.ID, err)
		}
	}
	var done atomic.Int64
	var all sync.WaitGroup
	faults := make([]error, callers)
	for i := range callers {
		r := rand.New(rand.NewPCG(t.Seed, uint64(i)))
		all.Go(func() {
			for ctx.Err() == nil && faults[i] == nil && done.Add(1) <= int64(t.N) {
				faults[i] = oneCall(ctx, c, r, t.flows, doomed)
			}
		})
	}
	all.Wait()
	if err := errors.Join(faults...); err != nil {
		return err
	}
	t.Faults(t.N)
	for _, f := range t.flows { // a pause would hold what still runs
		if _, err := c.API.ResumeFlow(ctx, f.ID); err != nil {
			return fmt.Errorf("resume %s: %w", f.ID, err)
		}
	}
	return t.noGhosts(ctx, c, doomed)
}

// oneCall makes one call. An answer that refuses is an answer.
func oneCall(ctx context.Context, c *rig.Cluster, r *rand.Rand, flows, doomed []load.Flow) error {
	f := flows[r.IntN(len(flows))]
	d := doomed[r.IntN(len(doomed))]
	var err error
	switch r.IntN(8) {
	case 0:
		_, err = c.API.PauseFlow(ctx, f.ID)
	case 1, 2:
		_, err = c.API.ResumeFlow(ctx, f.ID)
	case 3, 4:
		list, lerr := c.API.Cycles(ctx, f.ID, 3, 0)
		if err = lerr; err == nil && len(list.Cycles) > 0 {
			_, err = c.API.CancelCycle(ctx, f.ID, list.Cycles[r.IntN(len(list.Cycles))].Cycle)
		}
	case 5:
		_, err = c.API.StartCycle(ctx, f.ID, "")
	case 6:
		_, err = c.API.Register(ctx, d.Text(), client.RegisterOptions{})
		if err == nil {
			_, err = c.API.StartCycle(ctx, d.ID, "")
		}
	case 7:
		err = c.API.DeleteFlow(ctx, d.ID)
	}
	var refused *client.Problem
	if errors.As(err, &refused) && refused.Status < 500 {
		return nil
	}
	return err
}

// noGhosts deletes flows and demands that nothing is left of them.
func (t *Trial) noGhosts(ctx context.Context, c *rig.Cluster, flows []load.Flow) error {
	for _, f := range flows {
		var gone *client.Problem
		if err := c.API.DeleteFlow(ctx, f.ID); err != nil && (!errors.As(err, &gone) || gone.Status != 404) {
			return fmt.Errorf("delete %s: %w", f.ID, err)
		}
	}
	err := rig.Await(ctx, healWithin, "removal of deleted flows", func() (bool, string) {
		keys, err := c.Ledger.Dump(ctx)
		if err != nil {
			return false, err.Error()
		}
		for k := range keys {
			for _, f := range flows {
				if strings.Contains(k, ":flow:"+f.ID+":") {
					return false, k
				}
			}
		}
		return true, ""
	})
	if err != nil {
		t.Violate("ghost: %v", err)
	}
	return nil
}

// retentionRaces keeps next to nothing of ended cycles, while workers are killed,
// so that late results, heartbeats and audits meet what is being removed.
func retentionRaces(ctx context.Context, t *Trial) error {
	c, err := t.Start(ctx, rig.Options{Coordinator: []string{"--keep-detailed", "1", "--keep-cycles", "2"}}, load.Config{Fast: 6})
	if err != nil {
		return err
	}
	for i := range t.N {
		if err := rig.Pause(ctx, t.between(200*time.Millisecond, time.Second)); err != nil {
			return err
		}
		w := c.Workers[t.Rand.IntN(len(c.Workers))]
		if err := w.Kill(); err != nil {
			return err
		}
		t.Faults(1)
		if err := w.Start(); err != nil {
			return err
		}
		if i%10 == 9 {
			t.Sayf("%d/%d workers killed", i+1, t.N)
		}
	}
	if err := c.Busy(ctx, healWithin, t.flows, 1); err != nil {
		return err
	}
	keys, err := c.Ledger.Dump(ctx)
	if err != nil {
		return err
	}
	for k := range keys {
		if strings.Contains(k, ":cycle:") && !strings.HasSuffix(k, ":status") && keys[k[:strings.Index(k, ":cycle:")]+":cycle:"+number(k)+":status"] == "" {
			t.Violate("ghost key %s of a cycle that is removed", k)
		}
	}
	return nil
}

// number is the cycle's number in a key.
func number(key string) string {
	_, rest, _ := strings.Cut(key, ":cycle:")
	n, _, _ := strings.Cut(rest, ":")
	return n
}
