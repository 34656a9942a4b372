package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/chaos/rig"
	"github.com/tradingflow/weather-station/deploy/dev/procs"
	"github.com/tradingflow/weather-station/shared/relay"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// Kind is one kind of fault that a soak draws.
type Kind struct {
	Name string
	Most time.Duration // longest time until it is healed; 0 = it heals itself
	Loss bool          // Redis forgets writes
	// Alone says that it is done to servers of one node only.
	Alone bool
	do    func(ctx context.Context, s *scene) error
}

// scene is what one fault works with.
type scene struct {
	*rig.Cluster
	rand  *rand.Rand
	busy  map[string]bool // targets of faults that are not healed
	trial *Trial

	what   string // what was done, for people
	target string
	heal   func(ctx context.Context) error // nil = nothing to heal
}

// take makes a target the fault's own; false when another fault has it.
func (s *scene) take(target string) bool {
	if s.busy[target] {
		return false
	}
	s.busy[target], s.target = true, target
	return true
}

// errTaken says that a fault's target is another fault's at the moment.
var errTaken = fmt.Errorf("target is taken")

// Kinds returns every kind, in an order that seeds rely on.
func Kinds() []Kind {
	return []Kind{
		{Name: "leader-kill", Most: time.Second, do: kill(theLeader)},
		{Name: "leader-stop", Most: 8 * time.Second, do: stop(theLeader)},
		{Name: "leader-term", Most: time.Second, do: term(theLeader)},
		{Name: "leader-transfer", do: transfer},
		{Name: "standby-kill", Most: 2 * time.Second, do: kill(aStandby)},
		{Name: "worker-kill", Most: 2 * time.Second, do: kill(aWorker)},
		{Name: "worker-stop", Most: 6 * time.Second, do: stop(aWorker)},
		{Name: "worker-term", Most: 2 * time.Second, do: term(aWorker)},
		{Name: "redis-kill", Most: time.Second, do: serverDown("kill", "redis")},
		{Name: "redis-restart", Most: time.Second, do: serverDown("stop", "redis")},
		{Name: "redis-truncate", Loss: true, Alone: true, do: truncate},
		{Name: "redis-memory", Alone: true, Most: 2 * time.Second, do: shortMemory},
		{Name: "rabbitmq-kill", Most: time.Second, do: serverDown("kill", "rabbitmq")},
		{Name: "rabbitmq-restart", Most: time.Second, do: serverDown("stop", "rabbitmq")},
		{Name: "queue-purge", do: queue("purge_queue")},
		{Name: "queue-delete", do: queue("delete_queue")},
		{Name: "etcd-kill", Most: 4 * time.Second, do: serverDown("kill", "etcd")},
		{Name: "etcd-restart", Most: time.Second, do: serverDown("stop", "etcd")},
		{Name: "election-key-deleted", do: electionKey},
		{Name: "link-cut", Most: 3 * time.Second, do: links(oneLink, func(*rand.Rand) relay.Faults { return relay.Faults{Cut: true} })},
		{Name: "link-hole", Most: 4 * time.Second, do: links(oneLink, func(r *rand.Rand) relay.Faults { return relay.Faults{Hole: direction(r)} })},
		{Name: "link-stall", Most: 4 * time.Second, do: links(oneLink, func(r *rand.Rand) relay.Faults { return relay.Faults{Stall: direction(r)} })},
		{Name: "link-slow", Most: 4 * time.Second, do: links(someLinks, func(r *rand.Rand) relay.Faults {
			return relay.Faults{Delay: relay.Span(r.Int64N(int64(200 * time.Millisecond))), Jitter: relay.Span(r.Int64N(int64(50 * time.Millisecond)))}
		})},
		{Name: "link-narrow", Most: 4 * time.Second, do: links(oneLink, func(r *rand.Rand) relay.Faults { return relay.Faults{Rate: 2000 + r.Int64N(20_000)} })},
		{Name: "link-cut-mid-frame", Most: 2 * time.Second, do: links(oneLink, func(r *rand.Rand) relay.Faults { n := r.Int64N(4000); return relay.Faults{ResetAfter: &n} })},
		{Name: "link-reset", do: resetLinks},
		{Name: "part-isolated", Most: 4 * time.Second, do: links(allOfAPart, func(r *rand.Rand) relay.Faults {
			if r.IntN(2) == 0 {
				return relay.Faults{Cut: true}
			}
			return relay.Faults{Hole: relay.Both}
		})},
		{Name: "server-isolated", Most: 3 * time.Second, do: links(allToAServer, func(r *rand.Rand) relay.Faults {
			if r.IntN(2) == 0 {
				return relay.Faults{Cut: true}
			}
			return relay.Faults{Hole: relay.Both}
		})},
		{Name: "crash-at-a-point", Most: 6 * time.Second, do: crash},
		{Name: "stall-at-a-point", Most: 4 * time.Second, do: stallAtPoint},
	}
}

func direction(r *rand.Rand) relay.Direction {
	return []relay.Direction{relay.Up, relay.Down, relay.Both}[r.IntN(3)]
}

type chooser func(ctx context.Context, s *scene) (*procs.Process, error)

func theLeader(ctx context.Context, s *scene) (*procs.Process, error) {
	p, _, err := s.Leader(ctx)
	return p, err
}

func aStandby(ctx context.Context, s *scene) (*procs.Process, error) {
	leader, _, err := s.Leader(ctx)
	if err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(slices.Clone(s.Coordinators), func(p *procs.Process) bool { return p == leader })
	return others[s.rand.IntN(len(others))], nil
}

func aWorker(_ context.Context, s *scene) (*procs.Process, error) {
	return s.Workers[s.rand.IntN(len(s.Workers))], nil
}

func anyPart(ctx context.Context, s *scene) (*procs.Process, error) {
	if s.rand.IntN(2) == 0 {
		return aWorker(ctx, s)
	}
	return theLeader(ctx, s)
}

// chosen takes a process that runs.
func (s *scene) chosen(ctx context.Context, choose chooser) (*procs.Process, error) {
	p, err := choose(ctx, s)
	if err != nil {
		return nil, err
	}
	if !s.take(p.Name) {
		return nil, errTaken
	}
	s.what = p.Name
	return p, nil
}

func kill(choose chooser) func(context.Context, *scene) error {
	return func(ctx context.Context, s *scene) error {
		p, err := s.chosen(ctx, choose)
		if err != nil {
			return err
		}
		s.heal = func(context.Context) error { return p.Start() }
		return p.Kill()
	}
}

func stop(choose chooser) func(context.Context, *scene) error {
	return func(ctx context.Context, s *scene) error {
		p, err := s.chosen(ctx, choose)
		if err != nil {
			return err
		}
		s.heal = func(context.Context) error { return p.Signal(syscall.SIGCONT) }
		return p.Signal(syscall.SIGSTOP)
	}
}

// term asks a process to end in good order; how long it takes, and that its exit
// code is 0, is a part of the fault.
func term(choose chooser) func(context.Context, *scene) error {
	return func(ctx context.Context, s *scene) error {
		p, err := s.chosen(ctx, choose)
		if err != nil {
			return err
		}
		young := p.Young()
		s.heal = func(context.Context) error {
			code, err := p.Exit(60 * time.Second)
			if err == nil && code != 0 && !young {
				err = fmt.Errorf("%s was asked to end and ended with code %d", p.Name, code)
			}
			if err != nil {
				return err
			}
			return p.Start()
		}
		return p.Signal(syscall.SIGTERM)
	}
}

// transfer hands the leadership over; that nobody can take it now is no fault of
// the product.
func transfer(ctx context.Context, s *scene) error {
	if !s.take("transfer") {
		return errTaken
	}
	_, err := s.API.TransferLeader(ctx, false)
	s.what = "done"
	if err != nil {
		s.what = err.Error()
	}
	return nil
}

func serverDown(how, name string) func(context.Context, *scene) error {
	return func(_ context.Context, s *scene) error {
		if !s.take(name) {
			return errTaken
		}
		node := name
		if s.trial.HA {
			nodes := s.Servers.Nodes(name + "-")
			node = nodes[s.rand.IntN(len(nodes))]
		}
		s.what = node
		s.heal = func(ctx context.Context) error {
			if err := s.Servers.Do("start", node); err != nil || !s.trial.HA {
				return err
			}
			return rejoined(ctx, s.trial, name) // the next loss must not be the second
		}
		return s.Servers.Do(how, node)
	}
}

// truncate kills Redis, cuts its file and starts it.
func truncate(_ context.Context, s *scene) error {
	if !s.take("redis") {
		return errTaken
	}
	if err := s.Servers.Do("kill", "redis"); err != nil {
		return err
	}
	s.heal = func(context.Context) error { return s.Servers.Do("start", "redis") }
	size, err := aofSize(s.Servers.Folder())
	if err != nil {
		return err
	}
	cut, err := cutAOF(s.Servers.Folder(), max(0, size-s.rand.Int64N(200_000)-1), s.rand)
	s.what = fmt.Sprintf("%d bytes", cut)
	return err
}

// shortMemory leaves Redis no memory for anything new.
func shortMemory(_ context.Context, s *scene) error {
	if !s.take("redis") {
		return errTaken
	}
	s.what = "maxmemory 1mb"
	s.heal = func(context.Context) error {
		_, err := s.Servers.Ctl("redis-cli", "config", "set", "maxmemory", "0")
		return err
	}
	_, err := s.Servers.Ctl("redis-cli", "config", "set", "maxmemory", "1mb")
	return err
}

func queue(verb string) func(context.Context, *scene) error {
	return func(ctx context.Context, s *scene) error {
		if !s.take("rabbitmq") {
			return errTaken
		}
		name := taskqueue.Queue(s.Prefix, "default")
		s.what = name
		var last error
		err := rig.Await(ctx, 15*time.Second, "queue", func() (bool, string) { // one that was deleted just now comes back
			_, last = s.Servers.Ctl("rabbitmqctl", "--quiet", verb, name)
			gone := last != nil && (strings.Contains(last.Error(), "not_found") || strings.Contains(last.Error(), "not found"))
			return !gone, "there is none"
		})
		if err != nil {
			return err
		}
		return last
	}
}

// electionKey deletes the leader's key under it. After an earlier fault a moment may
// pass before there is one.
func electionKey(ctx context.Context, s *scene) error {
	if !s.take("etcd") {
		return errTaken
	}
	err := rig.Await(ctx, 15*time.Second, "election key", func() (bool, string) {
		keys, err := s.Servers.Ctl("etcdctl", "get", "--prefix", "--keys-only", "--sort-by=CREATE", s.Prefix+"/")
		if err != nil {
			return false, err.Error()
		}
		for key := range strings.FieldsSeq(keys) {
			if strings.Contains(key, "/candidates/") || strings.Contains(key, "/election/") && !strings.Contains(key, "base") {
				s.what = key
				return true, ""
			}
		}
		return false, fmt.Sprintf("%d other keys", len(strings.Fields(keys)))
	})
	if err != nil {
		return err
	}
	_, err = s.Servers.Ctl("etcdctl", "del", s.what)
	return err
}

// crash starts a part anew so that it ends at a persist step, and waits for that;
// a step that it does not come by is none.
func crash(ctx context.Context, s *scene) error { return atPoint(ctx, s, "exit") }

// stallAtPoint lets a part sleep in the middle of a step until its lease is over.
func stallAtPoint(ctx context.Context, s *scene) error {
	return atPoint(ctx, s, "sleep="+(lease+time.Second).String())
}

func atPoint(ctx context.Context, s *scene, action string) error {
	p, err := s.chosen(ctx, anyPart)
	if err != nil {
		return err
	}
	points := coordinatorPoints
	if slices.Contains(s.Workers, p) {
		points = workerPoints
	}
	point := points[s.rand.IntN(len(points))]
	s.what = fmt.Sprintf("%s at %s", p.Name, point)
	env := slices.Clone(p.Env)
	s.heal = func(context.Context) error {
		p.Env = env
		if p.Running() {
			if err := p.Kill(); err != nil {
				return err
			}
		}
		return p.Start()
	}
	if err := p.Kill(); err != nil {
		return err
	}
	p.Env = append(p.Env, fmt.Sprintf("STATION_FAILPOINT=%s:%d:%s", point, 1+s.rand.IntN(5), action))
	return p.Start()
}
