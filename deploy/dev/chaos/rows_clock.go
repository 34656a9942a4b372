package chaos

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/chaos/load"
	"github.com/tradingflow/weather-station/deploy/dev/chaos/rig"
)

//go:embed clock/shift.c
var shiftSource []byte

// redisClock sets Redis's clock by up to an hour, forth and back: slots go on, no
// flow is dead, nothing comes in a storm, no claim of a live worker is revoked.
func redisClock(ctx context.Context, t *Trial) error {
	set, err := t.Servers()
	if err != nil {
		return err
	}
	lib, file := filepath.Join(set.Dir, "shift.so"), filepath.Join(set.Dir, "clock")
	if err := buildShift(lib); err != nil {
		return err
	}
	if err := setClock(file, 0); err != nil {
		return err
	}
	defer func() { // nobody else shall have these servers
		t.Lab.discard(set)
		t.set = nil
	}()
	if err := set.Do("stop", "redis"); err != nil {
		return err
	}
	if err := set.DoWith([]string{"LD_PRELOAD=" + lib, "STATION_CLOCK=" + file}, "start", "redis"); err != nil {
		return err
	}
	c, err := t.Start(ctx, rig.Options{}, load.Config{Fast: 2})
	if err != nil {
		return err
	}
	c.ClockSet = true
	for i := range t.N {
		step := []time.Duration{time.Hour, -time.Hour, t.between(3*time.Second, 10*time.Minute), -t.between(3*time.Second, 10*time.Minute)}[(i+int(t.Seed))%4]
		if err := setClock(file, step); err != nil {
			return err
		}
		t.Faults(1)
		at, skip := time.Now(), len(c.Read(ctx))
		if err := c.Busy(ctx, healWithin, t.flows, 2); err != nil {
			return fmt.Errorf("clock of Redis at %+v: %w", step, err)
		}
		took := time.Since(at)
		t.Measure("every flow ended two cycles", took)
		started := rig.Count(c.Read(ctx), skip, "cycle_start")
		if most := int(took/(100*time.Millisecond)+10)*2 + len(t.flows)*int(took/time.Second+5); started > most {
			t.Violate("storm: %d cycles started within %s", started, took)
		}
		t.Sayf("%d/%d clock of Redis at %+v: every flow ended two cycles after %s", i+1, t.N, step, ms(took))
	}
	if n := rig.Count(c.Reread(ctx), 0, "expire"); n > 0 {
		t.Violate("%d claims of live workers were revoked", n)
	}
	return t.finish(ctx)
}

func setClock(file string, by time.Duration) error {
	next := file + ".next"
	if err := os.WriteFile(next, fmt.Appendf(nil, "%d\n", int(by.Seconds())), 0o644); err != nil {
		return fmt.Errorf("set clock: %w", err)
	}
	if err := os.Rename(next, file); err != nil {
		return fmt.Errorf("set clock: %w", err)
	}
	return nil
}

// buildShift compiles the library that shifts a process's clock.
func buildShift(lib string) error {
	source := lib + ".c"
	if err := os.WriteFile(source, shiftSource, 0o644); err != nil {
		return fmt.Errorf("clock library: %w", err)
	}
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-O1", "-o", lib, source, "-ldl").CombinedOutput(); err != nil {
		return fmt.Errorf("clock library: %w: %s", err, out)
	}
	return nil
}
