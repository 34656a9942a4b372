package chaos

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/chaos/load"
	"github.com/tradingflow/weather-station/deploy/dev/chaos/rig"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/task"
	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/shared/taskqueue/rabbit"
)

// alarms makes RabbitMQ take no messages for a while: no leader resigns, and what
// can't start is skipped with its reason.
func alarms(ctx context.Context, t *Trial) error {
	c, err := t.Start(ctx, rig.Options{}, load.Config{})
	if err != nil {
		return err
	}
	for i := range t.N {
		skip := len(c.Read(ctx))
		if _, err := t.set.Ctl("rabbitmqctl", "--quiet", "set_vm_memory_high_watermark", "absolute", "1MB"); err != nil {
			return err
		}
		t.Faults(1)
		lasts := t.between(6*time.Second, 15*time.Second)
		perr := rig.Pause(ctx, lasts)
		if _, err := t.set.Ctl("rabbitmqctl", "--quiet", "set_vm_memory_high_watermark", "absolute", "1GiB"); err != nil {
			return err
		}
		if perr != nil {
			return perr
		}
		at := time.Now()
		if err := c.Busy(ctx, 60*time.Second, t.flows, 1); err != nil {
			return err
		}
		t.Measure("every flow ended a cycle", time.Since(at))
		if n := rig.Count(c.Read(ctx), skip, "takeover"); n > 0 {
			t.Violate("%d leaderships began under an alarm that hits every candidate", n)
		}
		t.Sayf("%d/%d memory alarm for %s: every flow ended a cycle %s after it", i+1, t.N, ms(lasts), ms(time.Since(at)))
	}
	return nil
}

// duplicates publishes every task again, up to four times, and old ones once more.
func duplicates(ctx context.Context, t *Trial) error {
	c, err := t.Start(ctx, rig.Options{}, load.Config{})
	if err != nil {
		return err
	}
	pub := rabbit.NewPublisher(rabbit.Config{URL: t.set.Rabbit, Prefix: c.Prefix, Name: "chaos"})
	pctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- pub.Run(pctx) }()
	defer func() { stop(); <-ended }()
	select {
	case <-pub.Ready():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	queue := taskqueue.Queue(c.Prefix, "default")
	var seen []ids.Attempt
	for from := 0; t.result.Faults < t.N; {
		all := c.Read(ctx)
		for _, r := range all[from:] {
			if r.Op != "ready" && r.Op != "claim" { // a direct claim has no offer
				continue
			}
			seen = append(seen, r.Attempt)
			for range t.Rand.IntN(4) + 1 {
				a := r.Attempt
				if t.Rand.IntN(5) == 0 {
					a = seen[t.Rand.IntN(len(seen))]
				}
				body := task.Task{Attempt: a, Type: "record", Pool: "default"}.Encode()
				if _, err := pub.Publish(ctx, queue, "again", body); err != nil {
					return fmt.Errorf("publish a copy: %w", err)
				}
				t.Faults(1)
			}
		}
		from = len(all)
		if err := rig.Pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	t.Sayf("%d copies published", t.result.Faults)
	return c.Settled(ctx, healWithin)
}

// starved runs everything with one thread and a collector that hardly rests.
func starved(ctx context.Context, t *Trial) error {
	c, err := t.Start(ctx, rig.Options{Env: []string{"GOMAXPROCS=1", "GOGC=5"}}, load.Config{})
	if err != nil {
		return err
	}
	t.Faults(t.N)
	if err := rig.Pause(ctx, time.Duration(t.N)*10*time.Second); err != nil {
		return err
	}
	late := time.Duration(0)
	for _, r := range c.Read(ctx) {
		if d, ok := lateness(r); ok {
			t.Measure("slots late by", d)
			late = max(late, d)
		}
	}
	t.Sayf("starved for %d s: slots at most %s late", 10*t.N, ms(late))
	return nil
}

// lateness is how long after its slot a cycle began.
func lateness(r ledger.Record) (time.Duration, bool) {
	var slot, revision int64
	if r.Op != "cycle_start" {
		return 0, false
	}
	if n, _ := fmt.Sscan(r.Detail, &slot, &revision); n != 2 {
		return 0, false
	}
	return r.At.Sub(time.UnixMilli(slot)), true
}

// drains stops workers in good order under load and starts others: nothing is
// lost, and no claim has to be revoked. Nodes that may start only once are left
// out: one that is interrupted is the leader's to end.
func drains(ctx context.Context, t *Trial) error {
	c, err := t.Start(ctx, rig.Options{Worker: []string{"--grace", "500ms"}}, load.Config{NodeTime: 2 * time.Second, Once: -1})
	if err != nil {
		return err
	}
	for len(c.Workers) < 8 {
		if _, err := c.AddWorker(); err != nil {
			return err
		}
	}
	for i := range t.N {
		w := c.Workers[t.Rand.IntN(len(c.Workers))]
		if !w.Running() {
			if err := errors.Join(w.Start(), c.Whole(ctx, healWithin)); err != nil {
				return err
			}
			t.Faults(1)
			continue
		}
		stopping := 1
		if t.Rand.IntN(3) == 0 {
			stopping = len(c.Workers) - 1 // down to one
		}
		for _, p := range c.Workers {
			if p.Running() && (p == w || stopping > 1 && p != c.Workers[0]) {
				if err := p.Signal(syscall.SIGTERM); err != nil {
					return err
				}
			}
		}
		for _, p := range c.Workers {
			if p == w || stopping > 1 && p != c.Workers[0] {
				if p.Pid() == 0 {
					continue
				}
				if code, err := p.Exit(20 * time.Second); err != nil || code != 0 {
					t.Violate("%s was asked to end: code %d, %v", p.Name, code, err)
				}
			}
		}
		t.Faults(1)
		t.Sayf("%d/%d %d workers drained", i+1, t.N, stopping)
		if err := errors.Join(w.Start(), c.Whole(ctx, healWithin)); err != nil {
			return err
		}
	}
	for _, p := range c.Workers {
		if err := p.Start(); err != nil {
			return err
		}
	}
	if n := rig.Count(c.Read(ctx), 0, "expire"); n > 0 {
		t.Violate("%d claims were revoked though every worker ended in good order", n)
	}
	return nil
}
