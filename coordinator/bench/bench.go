package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/bench/shape"
)

// Floor runs the same jobs on the servers alone.
type Floor interface {
	Run(ctx context.Context, job shape.Job) (shape.Sample, error)
}

// Meter tells the CPU time that each part has used so far.
type Meter func() map[string]time.Duration

// Config of Run.
type Config struct {
	Flows    Flows
	Cycles   Cycles
	Floor    Floor // nil = none
	Queue    string
	CPU      Meter // of the product and the servers; nil = not known
	FloorCPU Meter // of the floor and the servers
	Prefix   string
	Only     []string // names of workloads; empty = all
	Sizes    Sizes
	Runs     int
	Expire   time.Duration // how long one cycle may take
	Load1    float64
	// Progress is called before each step; nil = nobody looks.
	Progress func(done, total int, what string)
}

// Validate tells everything that is wrong with c.
func (c *Config) Validate() error {
	faults := c.Sizes.faults()
	if _, err := c.Sizes.workloads(c.Only); err != nil {
		faults = append(faults, err.Error())
	}
	if c.Runs < 1 || c.Runs > 1000 {
		faults = append(faults, fmt.Sprintf("--runs is %d: 1 to 1000 are possible", c.Runs))
	}
	if len(faults) > 0 {
		return errors.New(strings.Join(faults, "; "))
	}
	return nil
}

// farewell is how long flows may take to be deleted after the end.
const farewell = 2 * time.Minute

// Run runs the workloads and reports. The flows that it registers are deleted
// before it returns, also when ctx ends.
func Run(ctx context.Context, cfg Config) (rep Report, err error) {
	if err := cfg.Validate(); err != nil {
		return rep, err
	}
	all, _ := cfg.Sizes.workloads(cfg.Only)
	c := &cluster{flows: cfg.Flows, cycles: cfg.Cycles, prefix: cfg.Prefix, expire: cfg.Expire, made: map[string]bool{}}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		if rerr := c.remove(ctx, c.prefix); rerr != nil {
			err = errors.Join(err, fmt.Errorf("flows %s-… are left: %w", c.prefix, rerr))
		}
	}()
	began := time.Now()
	rep = Report{Began: api.At(began), Runs: cfg.Runs, Queue: cfg.Queue, Machine: Machine{runtime.NumCPU(), cfg.Load1}}
	b := &bench{Config: cfg, cluster: c, total: len(all) * (2*cfg.Runs + 1)}
	for _, w := range all {
		r, err := b.workload(ctx, w)
		if err != nil {
			return rep, fmt.Errorf("%s: %w", w.name, err)
		}
		rep.Workloads = append(rep.Workloads, r)
	}
	rep.TookMS = time.Since(began).Milliseconds()
	return rep, nil
}

type bench struct {
	Config
	cluster     *cluster
	done, total int
}

func (b *bench) step(what string) {
	if b.Progress != nil {
		b.Progress(b.done, b.total, what)
	}
	b.done++
}

// side is the product or the floor.
type side struct {
	name    string
	prepare func(ctx context.Context, job shape.Job) error
	run     func(ctx context.Context, job shape.Job) (shape.Sample, error)
	after   func(ctx context.Context, job shape.Job, s *shape.Sample) error
	cpu     Meter
}

// sides are the floor, if there is one, and the product.
func (b *bench) sides() []side {
	ours := side{name: "cluster", prepare: b.cluster.prepare, run: b.cluster.run, after: b.cluster.read, cpu: b.CPU}
	least := side{name: "floor", cpu: b.FloorCPU}
	if b.Floor != nil {
		least.run = b.Floor.Run
	}
	return []side{least, ours}
}

// workload runs one workload, floor and product in turns.
func (b *bench) workload(ctx context.Context, w workload) (Result, error) {
	sides := b.sides()
	b.step(w.name + ": warm-up")
	for _, s := range sides {
		if s.run == nil || w.name == Ticks { // ticks need none, and take long
			continue
		}
		short := workload{name: w.name}
		for _, j := range w.jobs {
			j.Cycles = 1
			short.jobs = append(short.jobs, j)
		}
		if _, _, err := play(ctx, short, s); err != nil {
			return Result{}, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	rounds := make([][]round, len(sides))
	parts := make([][]map[string]float64, len(sides))
	for n := range b.Runs {
		for i, s := range sides {
			b.step(fmt.Sprintf("%s: run %d of %d, %s", w.name, n+1, b.Runs, s.name))
			if s.run == nil {
				continue
			}
			r, byPart, err := play(ctx, w, s)
			if err != nil {
				return Result{}, fmt.Errorf("%s: %w", s.name, err)
			}
			rounds[i], parts[i] = append(rounds[i], r), append(parts[i], byPart)
		}
	}
	out := w.sum(b.Sizes, rounds[1], rounds[0])
	out.FloorCPUByPart, out.CPUByPart = medians(parts[0]), medians(parts[1])
	return out, nil
}

// play runs each job of a workload once.
func play(ctx context.Context, w workload, s side) (r round, byPart map[string]float64, err error) {
	for i, j := range w.jobs {
		sample, spent, err := s.play(ctx, j)
		if err != nil {
			return r, nil, err
		}
		used := time.Duration(0)
		for part, d := range spent {
			if part != Client {
				used += d
			}
		}
		if i == 0 && spent != nil {
			byPart = map[string]float64{}
			for part, d := range spent {
				byPart[part] = float64(d.Microseconds()) / float64(max(sample.Nodes, 1))
			}
		}
		r.samples, r.cpu = append(r.samples, sample), append(r.cpu, used)
	}
	return r, byPart, nil
}

// play runs a job, and tells the CPU time that each part spent on it.
func (s *side) play(ctx context.Context, j shape.Job) (out shape.Sample, spent map[string]time.Duration, err error) {
	if s.prepare != nil {
		if err := s.prepare(ctx, j); err != nil {
			return out, nil, err
		}
	}
	if s.cpu != nil {
		spent = s.cpu()
	}
	if out, err = s.run(ctx, j); err != nil {
		return out, nil, err
	}
	if s.cpu != nil {
		before := spent
		spent = s.cpu()
		for part := range spent {
			spent[part] -= before[part]
		}
	}
	if s.after != nil {
		err = s.after(ctx, j, &out)
	}
	return out, spent, err
}

// Client is the part of the benchmark itself: it calls the API, and does not count
// as CPU of a node.
const Client = "client"

func medians(runs []map[string]float64) map[string]float64 {
	all := map[string][]float64{}
	for _, r := range runs {
		for part, v := range r {
			all[part] = append(all[part], v)
		}
	}
	if len(all) == 0 {
		return nil
	}
	out := map[string]float64{}
	for part, v := range all {
		out[part] = median(v)
	}
	return out
}
