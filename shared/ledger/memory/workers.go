package memory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

const (
	workersKey      = prefix + ":workers"
	coordinatorsKey = prefix + ":coordinators"
)

func workerKey(id ids.WorkerID) string { return prefix + ":worker:" + string(id) }

// BeatWorker records that a worker lives.
func (l *Ledger) BeatWorker(_ context.Context, w ledger.Worker, ttl time.Duration) error {
	defer l.begin()()
	draining := "0"
	if w.Draining {
		draining = "1"
	}
	l.put(workerKey(w.ID), "pool", w.Pool, "types", strings.Join(w.Types, ","), "concurrency", itoa(int64(w.Concurrency)),
		"pack", itoa(int64(w.Pack)), "busy", itoa(int64(w.Busy)), "version", w.Version, "host", w.Host, "health", w.Health, "started_at", itoa(w.StartedAt.UnixMilli()),
		"draining", draining, "last_beat", itoa(l.now), "ttl", itoa(ttl.Milliseconds()))
	l.join(workersKey, string(w.ID))
	return nil
}

// LeaveWorker removes a worker's record.
func (l *Ledger) LeaveWorker(_ context.Context, id ids.WorkerID) error {
	defer l.begin()()
	l.remove(workerKey(id))
	l.leave(workersKey, string(id))
	return nil
}

// Workers returns the live workers, by id. The names of dead ones stay.
func (l *Ledger) Workers(context.Context) ([]ledger.Worker, error) {
	defer l.begin()()
	var out []ledger.Worker
	for _, name := range sortedNames(l.sets[workersKey]) {
		h := l.hashes[workerKey(ids.WorkerID(name))]
		if h != nil && l.now-number(h["last_beat"]) <= number(h["ttl"]) {
			out = append(out, ledger.WorkerOf(ids.WorkerID(name), h))
		}
	}
	return out, nil
}

// Worker returns one worker.
func (l *Ledger) Worker(_ context.Context, id ids.WorkerID) (ledger.Worker, error) {
	defer l.begin()()
	h := l.hashes[workerKey(id)]
	if h == nil {
		return ledger.Worker{}, fmt.Errorf("worker %s: %w", id, ledger.ErrGone)
	}
	return ledger.Worker{ID: id, Pool: h["pool"], Host: h["host"], Health: h["health"]}, nil
}

func coordinatorMember(c ledger.Coordinator) string { return c.ID + "|" + c.Host + "|" + c.URL }

// BeatCoordinator announces a coordinator's API.
func (l *Ledger) BeatCoordinator(_ context.Context, c ledger.Coordinator, ttl time.Duration) error {
	defer l.begin()()
	l.rank(coordinatorsKey, coordinatorMember(c), l.now+ttl.Milliseconds())
	return nil
}

// LeaveCoordinator takes an announcement back.
func (l *Ledger) LeaveCoordinator(_ context.Context, c ledger.Coordinator) error {
	defer l.begin()()
	l.unrank(coordinatorsKey, coordinatorMember(c))
	return nil
}

// Coordinators returns what is announced, by id.
func (l *Ledger) Coordinators(context.Context) ([]ledger.Coordinator, error) {
	defer l.begin()()
	var out []ledger.Coordinator
	for _, z := range l.ordered(coordinatorsKey) {
		if p := strings.SplitN(z.member, "|", 3); len(p) == 3 && z.score > l.now {
			out = append(out, ledger.Coordinator{ID: p[0], Host: p[1], URL: p[2]})
		}
	}
	slices.SortFunc(out, func(a, b ledger.Coordinator) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}
