package ledger

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Doubt is an at-most-once node that its claim's holder must not start, since it
// may have been started before.
type Doubt struct {
	ids.Attempt
	Token     uuid.UUID
	Plan      *plan.Node
	OnFailure string
	Why       string
}

// EndUnknown ends a node as unknown; the failure policy is that of a lost
// at-most-once node. Repeating it is harmless. Errors: ErrGone, ErrNotMine.
func (l *Ledger) EndUnknown(ctx context.Context, d Doubt) error {
	total := len(d.Plan.Successors)
	given := min(total, Chunk)
	args := []any{string(d.Flow), d.Cycle, d.UUID.String(), string(d.Node), d.N, d.Token.String(), ClipError(d.Why), d.OnFailure, d.Plan.Component, total, given}
	args = successorArgs(args, d.Plan, 0, given, AllEdges(FailedSource))
	r, err := l.call(ctx, "end_unknown", 0, args...)
	if err != nil {
		return err
	}
	return settled("end unknown", d.Attempt, r)
}

// Blockers of a claimed attempt, as Block names them.
const (
	BlockedByOnceKey = "once_key" // its worker asks the coordinators whether it may start
	BlockedByEtcd    = "etcd"     // its worker is lost, and whether it was started stands in etcd
)

// Block names what a claimed attempt waits for ("" = nothing any more), for
// people: nothing is decided by it. A claim that is another's by now is left
// alone.
func (l *Ledger) Block(ctx context.Context, a ids.Attempt, token uuid.UUID, blocker string) error {
	_, err := l.call(ctx, "block", 0, string(a.Flow), a.Cycle, a.UUID.String(), string(a.Node), a.N, token.String(), blocker)
	return err
}

// Coordinator is where a coordinator's API is.
type Coordinator struct {
	ID   string
	URL  string
	Host string // name of its machine
}

// BeatCoordinator announces a coordinator's API; it is forgotten after ttl
// without another beat.
func (l *Ledger) BeatCoordinator(ctx context.Context, c Coordinator, ttl time.Duration) error {
	_, err := l.call(ctx, "beat_coordinator", 0, c.ID, ttl.Milliseconds(), 0, c.URL, c.Host)
	return err
}

// LeaveCoordinator takes an announcement back.
func (l *Ledger) LeaveCoordinator(ctx context.Context, c Coordinator) error {
	_, err := l.call(ctx, "beat_coordinator", 0, c.ID, 0, 1, c.URL, c.Host)
	return err
}

// Coordinators returns what is announced, by id.
func (l *Ledger) Coordinators(ctx context.Context) ([]Coordinator, error) {
	now, err := l.Now(ctx)
	if err != nil {
		return nil, err
	}
	found, err := l.rdb.ZRangeWithScores(ctx, l.key("coordinators"), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("read coordinators: %w", classify(err))
	}
	var out []Coordinator
	for _, z := range found {
		member, _ := z.Member.(string)
		p := strings.SplitN(member, "|", 3)
		if len(p) == 3 && int64(z.Score) > milli(now) {
			out = append(out, Coordinator{ID: p[0], Host: p[1], URL: p[2]})
		}
	}
	slices.SortFunc(out, func(a, b Coordinator) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// OnceEra tells the ledger which etcd has the once-keys, by a name that an etcd
// keeps as long as its data, and returns since when that is so on the ledger's
// clock.
func (l *Ledger) OnceEra(ctx context.Context, epoch ids.Epoch, era string) (time.Time, error) {
	r, err := l.call(ctx, "once_era", epoch, era)
	if err != nil {
		return time.Time{}, err
	}
	return fromMilli(r.text(1)), nil
}

// Occasions returns the occasions of all cycles of a flow that the ledger has,
// open or ended.
func (l *Ledger) Occasions(ctx context.Context, f ids.FlowID) (map[uuid.UUID]bool, error) {
	all, err := l.CycleNumbers(ctx, f)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	pipe := l.rdb.Pipeline()
	cmds := make([]*redis.StringCmd, len(all))
	for i, n := range all {
		cmds[i] = pipe.HGet(ctx, l.cycleKey(f, n, "status"), "occasion")
	}
	if _, err := pipe.Exec(ctx); err != nil && !isNil(err) {
		return nil, fmt.Errorf("read occasions of %s: %w", f, classify(err))
	}
	out := make(map[uuid.UUID]bool, len(all))
	for _, c := range cmds {
		v, err := c.Result()
		if err != nil && !isNil(err) {
			return nil, fmt.Errorf("read occasions of %s: %w", f, classify(err))
		}
		if u, err := uuid.Parse(v); err == nil {
			out[u] = true
		}
	}
	return out, nil
}
