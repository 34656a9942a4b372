package chaos

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/chaos/load"
	"github.com/tradingflow/weather-station/deploy/dev/chaos/rig"
	"github.com/tradingflow/weather-station/deploy/dev/procs"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// ttl and lease of clusters under test.
const (
	ttl   = 2 * time.Second
	lease = 2 * time.Second
)

// by demands an entry that a later leadership wrote.
func by(op string, after int64) func(ledger.Record) bool {
	return func(r ledger.Record) bool { return r.Op == op && int64(r.Epoch) > after }
}

// leaderKilled kills the leader and measures until the next one's first offer.
// Many flows tick at 100 ms, so that there is something to offer at any moment.
func leaderKilled(ctx context.Context, t *Trial) error {
	t.Limit("next dispatch", 50*time.Millisecond, 100*time.Millisecond, 0)
	c, err := t.Start(ctx, rig.Options{Coordinators: 3}, load.Config{Fast: 10})
	if err != nil {
		return err
	}
	for i := range t.N {
		if err := c.Whole(ctx, 20*time.Second); err != nil {
			return err
		}
		leader, epoch, err := c.Leader(ctx)
		if err != nil {
			return err
		}
		if err := rig.Pause(ctx, t.between(200*time.Millisecond, 500*time.Millisecond)); err != nil {
			return err
		}
		skip, at := len(c.Read(ctx)), time.Now()
		if err := leader.Kill(); err != nil {
			return err
		}
		t.Faults(1)
		over, err := c.Entry(ctx, 20*time.Second, skip, "takeover", by("takeover", epoch))
		if err != nil {
			return err
		}
		next, err := c.Entry(ctx, 20*time.Second, skip, "offer by the next leader", by("dispatch", epoch))
		if err != nil {
			return err
		}
		t.Measure("takeover", over.At.Sub(at))
		t.Measure("next dispatch", next.At.Sub(at))
		t.Sayf("%d/%d %s killed: takeover after %s, next dispatch after %s", i+1, t.N, leader.Name, ms(over.At.Sub(at)), ms(next.At.Sub(at)))
		if err := leader.Start(); err != nil {
			return err
		}
	}
	return c.Whole(ctx, 20*time.Second)
}

// leaderStopped stops the leader, so that it wakes into another's term.
func leaderStopped(ctx context.Context, t *Trial) error {
	// The lease may have been renewed just before, etcd looks for dead ones every
	// half second, and the next one has to be told and to take over.
	t.Limit("next dispatch", 0, 0, ttl+2*time.Second)
	c, err := t.Start(ctx, rig.Options{}, load.Config{Fast: 4})
	if err != nil {
		return err
	}
	for i := range t.N {
		if err := c.Whole(ctx, 20*time.Second); err != nil {
			return err
		}
		leader, epoch, err := c.Leader(ctx)
		if err != nil {
			return err
		}
		stop := t.between(time.Second, 10*time.Second)
		skip, at := len(c.Read(ctx)), time.Now()
		if err := leader.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		t.Faults(1)
		if err := rig.Pause(ctx, stop); err != nil {
			return err
		}
		if stop > ttl+3*time.Second {
			next, err := c.Entry(ctx, 20*time.Second, skip, "offer by the next leader", by("dispatch", epoch))
			if err != nil {
				return err
			}
			t.Measure("next dispatch", next.At.Sub(at))
		}
		if err := leader.Signal(syscall.SIGCONT); err != nil {
			return err
		}
		t.Sayf("%d/%d %s stopped for %s", i+1, t.N, leader.Name, ms(stop))
		if err := c.Busy(ctx, 30*time.Second, t.flows, 1); err != nil {
			return err
		}
		if n := rig.Count(c.Read(ctx), skip, "takeover"); n > 2 { // the woken one may be elected in a new term
			t.Violate("%d leaderships began after one stop", n)
		}
	}
	return c.Whole(ctx, 20*time.Second)
}

// live lists what a worker has under claim.
func live(journal []ledger.Record, worker string) []ledger.Record {
	held := map[ids.Attempt]ledger.Record{}
	for _, r := range journal {
		switch r.Op {
		case "claim":
			if r.Worker == worker {
				held[r.Attempt] = r
			}
		case "outcome", "expire", "retry_later":
			delete(held, r.Attempt)
		case "cycle_end":
			for a := range held {
				if a.UUID == r.UUID {
					delete(held, a)
				}
			}
		}
	}
	out := make([]ledger.Record, 0, len(held))
	for _, r := range held {
		out = append(out, r)
	}
	return out
}

// busy waits for a worker that runs nodes, and returns it.
func busy(ctx context.Context, t *Trial, c *rig.Cluster) (w *procs.Process, err error) {
	order := t.Rand.Perm(len(c.Workers))
	err = rig.Await(ctx, 20*time.Second, "worker that runs nodes", func() (bool, string) {
		all := c.Read(ctx)
		for _, i := range order {
			if p := c.Workers[i]; p.Running() && len(live(all, p.Name)) > 0 {
				w = p
				return true, ""
			}
		}
		return false, ""
	})
	return w, err
}

// rerun waits until everything that a worker had under claim is claimed by others
// or has an outcome, and returns when the last of these came; the times are since
// at.
func rerun(ctx context.Context, c *rig.Cluster, within time.Duration, lost []ledger.Record, skip int, at time.Time, each func(time.Duration)) error {
	open := map[ids.NodeID]map[string]ledger.Record{}
	for _, r := range lost {
		if open[r.Node] == nil {
			open[r.Node] = map[string]ledger.Record{}
		}
		open[r.Node][r.UUID.String()] = r
	}
	left := len(lost)
	return rig.Await(ctx, within, "second run", func() (bool, string) {
		all := c.Read(ctx)
		for _, r := range all[min(skip, len(all)):] {
			o, was := open[r.Node][r.UUID.String()]
			if was && (r.Op == "claim" && r.N > o.N || r.Op == "outcome") {
				delete(open[r.Node], r.UUID.String())
				left--
				each(r.At.Sub(at))
			}
		}
		skip = len(all)
		return left == 0, fmt.Sprintf("%d of %d are left", left, len(lost))
	})
}

// workerKilled kills a worker in the middle of nodes and measures until each of
// them runs elsewhere, or has ended unknown.
func workerKilled(ctx context.Context, t *Trial) error {
	t.Limit("run again", 0, 250*time.Millisecond, 0)
	c, err := t.Start(ctx, rig.Options{}, load.Config{NodeTime: time.Second})
	if err != nil {
		return err
	}
	for tries := 0; t.result.Faults < t.N && tries < 2*t.N+5; tries++ { // a kill that hit no node is made again
		if err := c.Whole(ctx, 20*time.Second); err != nil {
			return err
		}
		if err := rig.Pause(ctx, t.between(0, 300*time.Millisecond)); err != nil {
			return err
		}
		w, err := busy(ctx, t, c)
		if err != nil {
			return err
		}
		at := time.Now()
		if err := w.Kill(); err != nil {
			return err
		}
		all := c.Read(ctx)
		skip, lost := len(all), live(all, w.Name)
		if len(lost) > 0 {
			t.Faults(1)
		}
		var slowest time.Duration
		err = rerun(ctx, c, 30*time.Second, lost, first(all, at, skip), at, func(d time.Duration) {
			t.Measure("run again", d)
			slowest = max(slowest, d)
		})
		if err != nil {
			return err
		}
		t.Sayf("%d/%d %s killed with %d nodes: all are run again after %s", t.result.Faults, t.N, w.Name, len(lost), ms(slowest))
		if err := w.Start(); err != nil {
			return err
		}
	}
	return c.Whole(ctx, 20*time.Second)
}

// first finds the first entry at or after an instant, at most the given index.
func first(all []ledger.Record, at time.Time, most int) int {
	i := slices.IndexFunc(all, func(r ledger.Record) bool { return !r.At.Before(at) })
	if i < 0 {
		return most
	}
	return min(i, most)
}

// workerStopped stops workers for longer than their lease, with a short lease and, for
// every sixth fault, with the default one.
func workerStopped(ctx context.Context, t *Trial) error {
	for _, part := range []struct {
		lease time.Duration
		n     int
	}{{time.Second, t.N - t.N/6}, {10 * time.Second, t.N / 6}} {
		if part.n == 0 {
			continue
		}
		figure := fmt.Sprintf("run again, lease %s", part.lease)
		t.Limit(figure, 0, 0, part.lease+500*time.Millisecond)
		c, err := t.Start(ctx, rig.Options{Lease: part.lease}, load.Config{NodeTime: time.Second})
		if err != nil {
			return err
		}
		for i := range part.n {
			if err := stopWorker(ctx, t, c, figure, fmt.Sprintf("%d/%d, lease %s", i+1, part.n, part.lease)); err != nil {
				return err
			}
		}
		if err := c.Whole(ctx, 20*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// stopWorker stops one worker, measures until each of its nodes runs elsewhere, and
// wakes it.
func stopWorker(ctx context.Context, t *Trial, c *rig.Cluster, figure, which string) error {
	if err := c.Whole(ctx, 20*time.Second); err != nil {
		return err
	}
	w, err := busy(ctx, t, c)
	if err != nil {
		return err
	}
	at := time.Now()
	if err := w.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	if err := rig.Pause(ctx, 20*time.Millisecond); err != nil { // what it sent is in the journal by then
		return err
	}
	all := c.Read(ctx)
	skip, lost := len(all), live(all, w.Name)
	t.Faults(1)
	var slowest time.Duration
	err = rerun(ctx, c, 30*time.Second, lost, skip, at, func(d time.Duration) {
		t.Measure(figure, d)
		slowest = max(slowest, d)
	})
	if err != nil {
		return err
	}
	if err := rig.Pause(ctx, t.between(0, 2*time.Second)); err != nil {
		return err
	}
	if err := w.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	t.Sayf("%s: %s stopped with %d nodes: all are run again after %s", which, w.Name, len(lost), ms(slowest))
	return c.Busy(ctx, 30*time.Second, t.flows, 1)
}
