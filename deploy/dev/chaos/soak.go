package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/chaos/load"
	"github.com/tradingflow/weather-station/deploy/dev/chaos/rig"
)

// RunSchedule runs the phases of a schedule; only gives one of them alone, from 1
// on. Each phase is a row of the answer.
func RunSchedule(ctx context.Context, lab *Lab, s *Schedule, only int) ([]*Result, error) {
	if err := s.Write(filepath.Join(lab.Evidence, "schedule.json")); err != nil {
		return nil, err
	}
	var results []*Result
	for i, p := range s.Phases {
		if only > 0 && i+1 != only {
			continue
		}
		title := fmt.Sprintf("%d random faults", len(p.Faults))
		if p.Loss {
			title += ", Redis loses writes"
		}
		r := Row{ID: fmt.Sprintf("P%d", i+1), Title: title, Run: func(ctx context.Context, t *Trial) error {
			t.HA = s.HA
			return t.phase(ctx, p)
		}}
		_, _ = fmt.Fprintf(lab.Say, "=== phase %d of %d: %s\n", i+1, len(s.Phases), title)
		results = append(results, RunRow(ctx, lab, r, len(p.Faults), s.Seed))
		if ctx.Err() != nil {
			break
		}
	}
	return results, nil
}

// phase brings the faults of one phase about, each at its time, heals each after
// its time, and at the end all of them.
func (t *Trial) phase(ctx context.Context, p Phase) error {
	t.Seed = p.Seed
	set, err := t.Servers()
	if err != nil {
		return err
	}
	// With every write synced Redis has nothing to lose but by truncation.
	if !t.HA {
		if _, err := set.Ctl("redis-cli", "config", "set", "appendfsync", "always"); err != nil {
			return err
		}
	}
	c, err := t.Start(ctx, rig.Options{Links: true}, load.Config{})
	if err != nil {
		return err
	}
	c.RedisLost = p.Loss || t.HA // a replica may lag behind a primary that is lost
	f := &faults{Trial: t, cluster: c, busy: map[string]bool{}, kinds: map[string]Kind{}}
	for _, k := range Kinds() {
		f.kinds[k.Name] = k
	}
	for i, d := range p.Faults {
		if err := f.wait(ctx, d.After); err != nil {
			return errors.Join(err, f.healAll())
		}
		if err := f.begin(ctx, i, d); err != nil {
			return errors.Join(err, f.healAll())
		}
	}
	if err := f.healAll(); err != nil {
		return err
	}
	if err := c.Whole(ctx, healWithin); err != nil {
		t.Violate("not whole again: %v", err)
	}
	return nil
}

// faults are those that are not healed.
type faults struct {
	*Trial
	cluster *rig.Cluster
	kinds   map[string]Kind
	busy    map[string]bool
	open    []*fault
}

type fault struct {
	scene *scene
	name  string
	until time.Time
}

// begin brings a fault about. When its target is another fault's, it waits until
// that one is healed.
func (f *faults) begin(ctx context.Context, i int, d Drawn) error {
	k := f.kinds[d.Kind]
	for {
		s := &scene{Cluster: f.cluster, rand: rand.New(rand.NewPCG(d.Seed, uint64(i))), busy: f.busy, trial: f.Trial}
		err := k.do(ctx, s)
		if errors.Is(err, errTaken) {
			if err := f.healOne(ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			f.release(s)
			var late *rig.LateError
			if errors.As(err, &late) && len(f.open) > 0 { // no leader, for instance, while another fault lasts
				if err := f.healOne(ctx); err != nil {
					return err
				}
				continue
			}
			return fmt.Errorf("fault %d, %s: %w", i+1, d.Kind, err)
		}
		f.Faults(1)
		f.Sayf("%3d %s: %s, for %s", i+1, d.Kind, s.what, ms(d.Lasts))
		if s.heal == nil {
			f.release(s)
			return nil
		}
		f.open = append(f.open, &fault{s, d.Kind, time.Now().Add(d.Lasts)})
		return nil
	}
}

func (f *faults) release(s *scene) { delete(f.busy, s.target) }

// next is the fault that is to be healed first; nil without any.
func (f *faults) next() *fault {
	if len(f.open) == 0 {
		return nil
	}
	return slices.MinFunc(f.open, func(a, b *fault) int { return a.until.Compare(b.until) })
}

// wait waits and heals what is due meanwhile.
func (f *faults) wait(ctx context.Context, d time.Duration) error {
	end := time.Now().Add(d)
	for x := f.next(); x != nil && x.until.Before(end); x = f.next() {
		if err := f.healOne(ctx); err != nil {
			return err
		}
	}
	return rig.Pause(ctx, time.Until(end))
}

// healOne heals the fault that is due first, when it is due.
func (f *faults) healOne(ctx context.Context) error {
	x := f.next()
	if x == nil {
		return errors.New("a target is taken and nobody has it")
	}
	if err := rig.Pause(ctx, time.Until(x.until)); err != nil {
		return err
	}
	return f.end(ctx, x)
}

func (f *faults) end(ctx context.Context, x *fault) error {
	f.open = slices.DeleteFunc(f.open, func(o *fault) bool { return o == x })
	f.release(x.scene)
	if err := x.scene.heal(ctx); err != nil {
		return fmt.Errorf("heal %s of %s: %w", x.name, x.scene.what, err)
	}
	return nil
}

// healAll heals what is left, whether the run goes on or not.
func (f *faults) healAll() error {
	var bad []error
	for x := f.next(); x != nil; x = f.next() {
		bad = append(bad, f.end(context.Background(), x))
	}
	return errors.Join(bad...)
}

// ByKind counts what a schedule holds.
func (s *Schedule) ByKind() string {
	counts := map[string]int{}
	for _, p := range s.Phases {
		for _, d := range p.Faults {
			counts[d.Kind]++
		}
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, fmt.Sprintf("%s %d", k, counts[k]))
	}
	return strings.Join(out, ", ")
}
