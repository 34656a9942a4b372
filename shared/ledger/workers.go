package ledger

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Worker is a worker process as it reports itself.
type Worker struct {
	ID          ids.WorkerID
	Pool        string
	Types       []string // node types it carries, sorted
	Concurrency int
	Pack        int // tasks of one message it reads at most; 0, as of older ones, is 1
	Busy        int
	Version     string
	Host        string // name of its machine
	Health      string // host:port of its health address, "" when it has none
	StartedAt   time.Time
	LastBeat    time.Time
	Draining    bool
}

// BeatWorker records that a worker lives; the record counts for nothing after ttl
// without another beat, by the ledger's clock.
func (l *Ledger) BeatWorker(ctx context.Context, w Worker, ttl time.Duration) error {
	_, err := l.call(ctx, "beat_worker", 0, string(w.ID), ttl.Milliseconds(), 0,
		"pool", w.Pool, "types", strings.Join(w.Types, ","), "concurrency", w.Concurrency, "pack", w.Pack, "busy", w.Busy, "version", w.Version,
		"host", w.Host, "health", w.Health, "started_at", milli(w.StartedAt), "draining", flag(w.Draining))
	return err
}

// LeaveWorker removes a worker's record.
func (l *Ledger) LeaveWorker(ctx context.Context, id ids.WorkerID) error {
	_, err := l.call(ctx, "beat_worker", 0, string(id), 0, 1)
	return err
}

// Workers returns the live workers, by id, and forgets the names of dead ones.
func (l *Ledger) Workers(ctx context.Context) ([]Worker, error) {
	names, err := l.rdb.SMembers(ctx, l.key("workers")).Result()
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", classify(err))
	}
	if len(names) == 0 {
		return nil, nil
	}
	sort.Strings(names)
	pipe := l.rdb.Pipeline()
	cmds := make([]*redis.MapStringStringCmd, len(names))
	for i, n := range names {
		cmds[i] = pipe.HGetAll(ctx, l.key("worker:"+n))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read workers: %w", classify(err))
	}
	now, err := l.Now(ctx)
	if err != nil {
		return nil, err
	}
	var out []Worker
	var dead []any
	for i, c := range cmds {
		m := c.Val()
		if len(m) == 0 {
			dead = append(dead, names[i])
			continue
		}
		if last := fromMilli(m["last_beat"]); m["ttl"] != "" && now.Sub(last) > time.Duration(number(m["ttl"]))*time.Millisecond {
			continue // it has not been heard of for too long
		}
		out = append(out, WorkerOf(ids.WorkerID(names[i]), m))
	}
	if len(dead) > 0 { // a worker that comes back names itself again at its next beat
		if err := l.rdb.SRem(ctx, l.key("workers"), dead...).Err(); err != nil {
			return nil, fmt.Errorf("forget dead workers: %w", classify(err))
		}
	}
	return out, nil
}

// WorkerOf reads a worker's record.
func WorkerOf(id ids.WorkerID, m map[string]string) Worker {
	w := Worker{ID: id, Pool: m["pool"], Version: m["version"], Host: m["host"], Health: m["health"],
		StartedAt: fromMilli(m["started_at"]), LastBeat: fromMilli(m["last_beat"]), Draining: m["draining"] == "1"}
	if m["types"] != "" {
		w.Types = strings.Split(m["types"], ",")
	}
	w.Concurrency, _ = strconv.Atoi(m["concurrency"])
	w.Pack, _ = strconv.Atoi(m["pack"])
	w.Busy, _ = strconv.Atoi(m["busy"])
	return w
}

// Worker returns one worker. ErrGone when it has no record.
func (l *Ledger) Worker(ctx context.Context, id ids.WorkerID) (Worker, error) {
	m, err := l.rdb.HGetAll(ctx, l.key("worker:"+string(id))).Result()
	if err != nil {
		return Worker{}, fmt.Errorf("read worker %s: %w", id, classify(err))
	}
	if len(m) == 0 {
		return Worker{}, fmt.Errorf("worker %s: %w", id, ErrGone)
	}
	return Worker{ID: id, Pool: m["pool"], Host: m["host"], Health: m["health"]}, nil
}
