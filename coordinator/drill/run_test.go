package drill

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
)

type document struct {
	ID       string `json:"flow_id"`
	Schedule string `json:"schedule_type"`
}

func read(doc []byte) (d document) {
	if err := json.Unmarshal(doc, &d); err != nil {
		panic(err)
	}
	return d
}

func elected(f *fakeCluster) { f.epoch, f.leader = f.epoch+1, "c-2" }

func one(t *testing.T, cfg Config) Round {
	t.Helper()
	r, err := Run(t.Context(), cfg)
	if err != nil || len(r.Rounds) != 1 {
		t.Fatalf("%d rounds, %v", len(r.Rounds), err)
	}
	if r.Pass != r.Rounds[0].Pass {
		t.Errorf("the drill passes: %t, its only round: %t", r.Pass, r.Rounds[0].Pass)
	}
	return r.Rounds[0]
}

func fails(t *testing.T, r Round, why string) {
	t.Helper()
	if r.Pass || !strings.Contains(strings.Join(r.Reasons, "\n"), why) {
		t.Errorf("pass %t, reasons %q; want a failure with %q", r.Pass, r.Reasons, why)
	}
}

func TestRecoveryIsMeasured(t *testing.T) {
	t.Parallel()
	c := newFake()
	target := &fakeTarget{cluster: c, inject: elected}
	r := one(t, config(c, target, LeaderKill))
	if !r.Pass || len(r.Reasons) > 0 {
		t.Fatalf("reasons %q", r.Reasons)
	}
	if r.Leader != "c-1" || r.Epoch != 7 || r.NewLeader != "c-2" || r.NewEpoch != 8 || r.LeadershipMS == nil {
		t.Errorf("leadership %+v", r)
	}
	if r.StartedMS == nil || r.CompletedMS == nil || r.RecoveryMS == nil || *r.StartedMS < 0 || *r.StartedMS >= *r.CompletedMS || *r.RecoveryMS != *r.CompletedMS {
		t.Errorf("started %v, completed %v, recovered %v", r.StartedMS, r.CompletedMS, r.RecoveryMS)
	}
	if len(r.Proofs) != 1 || !strings.Contains(r.Proofs[0], "epoch 8 of c-2 follows epoch 7 of c-1") {
		t.Errorf("proofs %q", r.Proofs)
	}
	if r.Slots.Skipped["missed"] != 2 || r.Fenced != 1 || r.Proof == nil || r.Cycles[api.CycleCompleted] != int64(len(r.Timeline)) {
		t.Errorf("slots %+v, fenced %d, proof %v, cycles %v of %d", r.Slots, r.Fenced, r.Proof, r.Cycles, len(r.Timeline))
	}
	if target.heals != 1 || len(c.deleted) != 1 || c.deleted[0] != r.Canary || c.from == "" {
		t.Errorf("%d heals, deleted %q, verified from %q", target.heals, c.deleted, c.from)
	}
}

func TestFaultThatWasNotInjectedFails(t *testing.T) {
	t.Parallel()
	quick := func(c *fakeCluster, target *fakeTarget, f Fault) Config {
		cfg := config(c, target, f)
		cfg.Limit, cfg.Deadline, cfg.Pause = 300*time.Millisecond, 400*time.Millisecond, 50*time.Millisecond
		return cfg
	}
	for _, f := range Faults() {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			c := newFake()
			target := &fakeTarget{cluster: c}
			fails(t, one(t, quick(c, target, f)), "fault was not injected: nothing shows")
			if target.heals != 1 || len(c.deleted) != 1 {
				t.Errorf("%d heals, deleted %q", target.heals, c.deleted)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		c := newFake()
		target := &fakeTarget{cluster: c, fail: errors.New("no such pod")}
		fails(t, one(t, quick(c, target, LeaderKill)), "fault was not injected: no such pod")
		if target.heals != 1 || len(c.deleted) != 1 {
			t.Errorf("%d heals, deleted %q", target.heals, c.deleted)
		}
	})
}

func TestServerIsSeenDown(t *testing.T) {
	t.Parallel()
	c := newFake()
	target := &fakeTarget{cluster: c, inject: func(f *fakeCluster) { f.down = true }}
	cfg := config(c, &slowHeal{fakeTarget: target, up: func(f *fakeCluster) { f.down = false }}, RedisRestart)
	r := one(t, cfg)
	if !r.Pass || len(r.Proofs) != 1 || r.Proofs[0] != "redis was seen down" || r.RecoveryMS == nil || *r.RecoveryMS < 30 {
		t.Errorf("reasons %q, proofs %q, recovered %v", r.Reasons, r.Proofs, r.RecoveryMS)
	}
}

// slowHeal takes some looks to bring the server back.
type slowHeal struct {
	*fakeTarget
	up func(*fakeCluster)
}

func (s *slowHeal) Heal(ctx context.Context, f Fault, n Names) error {
	pause(ctx, 30*time.Millisecond)
	s.heal = s.up
	return s.fakeTarget.Heal(ctx, f, n)
}

func TestWorkerIsChosenByTheLongNode(t *testing.T) {
	t.Parallel()
	c := newFake()
	target := &fakeTarget{cluster: c, proof: "killed", inject: func(f *fakeCluster) {
		last := &f.cycles[len(f.cycles)-1]
		last.Nodes[0].Attempt, last.Nodes[0].Lost = 2, 1
	}}
	r := one(t, config(c, target, WorkerKill))
	if !r.Pass || target.names.Worker != "w-1" || r.Worker != "w-1" || r.VictimMS == nil || *r.RecoveryMS < *r.VictimMS || r.Repeated != 1 || r.Lost != 1 {
		t.Errorf("reasons %q, names %+v, round %+v", r.Reasons, target.names, r)
	}
}

// A cycle that waits for its worker's lease is soon not among the newest.
func TestCycleThatWaitsLongIsFollowed(t *testing.T) {
	t.Parallel()
	for _, forgets := range []bool{false, true} {
		c := newFake()
		c.newest, c.forgets = 3, forgets
		target := &fakeTarget{cluster: c, proof: "stopped", inject: func(f *fakeCluster) {
			last := &f.cycles[len(f.cycles)-1]
			f.stuck, last.Status = last.Cycle, api.CycleRunning
		}}
		r := one(t, config(c, target, WorkerKill))
		if r.VictimMS == nil || *r.VictimMS < 700 || *r.RecoveryMS != *r.VictimMS || r.Pass == forgets {
			t.Errorf("forgets %t: pass %t, reasons %q, hit cycle %v", forgets, r.Pass, r.Reasons, r.VictimMS)
		}
		if forgets {
			fails(t, r, "1 cycles were kept no more before their end was seen")
		}
	}
}

func TestRoundFailsForWhatItFinds(t *testing.T) {
	t.Parallel()
	t.Run("journal", func(t *testing.T) {
		t.Parallel()
		c := newFake()
		c.proof = api.Proof{Broken: 3}
		fails(t, one(t, config(c, &fakeTarget{cluster: c, inject: elected}, LeaderKill)), "3 violations")
	})
	t.Run("failed cycles", func(t *testing.T) {
		t.Parallel()
		c := newFake()
		target := &fakeTarget{cluster: c, inject: func(f *fakeCluster) { elected(f); f.status = api.CycleFailed }}
		cfg := config(c, target, LeaderKill)
		cfg.Limit, cfg.Deadline = 200*time.Millisecond, 400*time.Millisecond
		r := one(t, cfg)
		fails(t, r, "ended failed")
		fails(t, r, "did not recover")
	})
}

func TestInterruptedDrillCleansUp(t *testing.T) {
	t.Parallel()
	c := newFake()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	target := &fakeTarget{cluster: c, inject: func(*fakeCluster) { cancel() }}
	r, err := Run(ctx, config(c, target, LeaderKill))
	if !errors.Is(err, context.Canceled) || r.Pass || target.heals != 1 || len(c.deleted) != 1 {
		t.Errorf("%v, pass %t, %d heals, deleted %q", err, r.Pass, target.heals, c.deleted)
	}
}

func TestUnreachableClusterFailsSoon(t *testing.T) {
	t.Parallel()
	c := newFake()
	c.refuses = true
	cfg := config(c, &fakeTarget{cluster: c}, LeaderKill)
	fails(t, one(t, cfg), "the canary can't be registered")
	if len(c.deleted) != 1 {
		t.Errorf("a registration without an answer may have been taken; deleted %q", c.deleted)
	}
}
