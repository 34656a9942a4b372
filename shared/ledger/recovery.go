package ledger

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Recovery tells that the cluster went on by itself after a server had lost data.
type Recovery struct {
	At   time.Time // Redis TIME
	What string    // what happened, and what was done
}

// RedisRestarted is how the note of a recovery from a restart of Redis begins.
const RedisRestarted = "redis was restarted"

// NoteRecovery journals a recovery and keeps it among the latest. kind, when
// given, is the kind of repair that was made, count times.
func (l *Ledger) NoteRecovery(ctx context.Context, happened, done, kind string, count int) error {
	_, err := l.call(ctx, "note_recovery", 0, happened, done, kind, count)
	return err
}

// Repairs returns how many repairs of each kind were made since the ledger began.
func (l *Ledger) Repairs(ctx context.Context) (map[string]int64, error) {
	m, err := l.rdb.HGetAll(ctx, l.key("repairs")).Result()
	if err != nil {
		return nil, fmt.Errorf("read repairs: %w", classify(err))
	}
	out := make(map[string]int64, len(m))
	for kind, n := range m {
		out[kind] = number(n)
	}
	return out, nil
}

// Recoveries returns the latest recoveries, the newest first.
func (l *Ledger) Recoveries(ctx context.Context) ([]Recovery, error) {
	all, err := l.rdb.LRange(ctx, l.key("recoveries"), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("read recoveries: %w", classify(err))
	}
	out := make([]Recovery, len(all))
	for i, text := range all {
		at, what, _ := strings.Cut(text, " ")
		out[i] = Recovery{At: fromMilli(at), What: what}
	}
	return out, nil
}

// Heeded returns the run of Redis whose start a leader has acted on, "" when
// there was none yet.
func (l *Ledger) Heeded(ctx context.Context) (string, error) {
	id, err := l.rdb.Get(ctx, l.key("run")).Result()
	if err != nil && !isNil(err) {
		return "", fmt.Errorf("read the known run of redis: %w", classify(err))
	}
	return id, nil
}

// Heed notes that a leader has acted on the start of a run of Redis.
func (l *Ledger) Heed(ctx context.Context, runID string) error {
	if err := l.rdb.Set(ctx, l.key("run"), runID, 0).Err(); err != nil {
		return fmt.Errorf("note the run of redis: %w", classify(err))
	}
	return nil
}

// Origin names the history of etcd that the ledger's copies of flows come from,
// and how far it was seen.
type Origin struct {
	ID       string // of the catalog; "" = not known
	Revision int64
	Term     uint64
}

// Origin returns what the ledger knows of its catalog.
func (l *Ledger) Origin(ctx context.Context) (Origin, error) {
	m, err := l.rdb.HGetAll(ctx, l.key("catalog")).Result()
	if err != nil {
		return Origin{}, fmt.Errorf("read origin of flows: %w", classify(err))
	}
	return Origin{ID: m["id"], Revision: number(m["revision"]), Term: uint64(number(m["term"]))}, nil
}

// SetOrigin notes which catalog the flows come from and how far it was seen.
func (l *Ledger) SetOrigin(ctx context.Context, o Origin) error {
	if err := l.rdb.HSet(ctx, l.key("catalog"), "id", o.ID, "revision", o.Revision, "term", o.Term).Err(); err != nil {
		return fmt.Errorf("note origin of flows: %w", classify(err))
	}
	return nil
}

// Deleted tells which of these incarnations of flows were deleted, as far back as
// the ledger remembers.
func (l *Ledger) Deleted(ctx context.Context, uids []uuid.UUID) (map[uuid.UUID]bool, error) {
	out := map[uuid.UUID]bool{}
	for _, u := range uids {
		err := l.rdb.ZScore(ctx, l.key("deleted"), u.String()).Err()
		if err != nil && !isNil(err) {
			return nil, fmt.Errorf("read deleted flows: %w", classify(err))
		}
		out[u] = err == nil
	}
	return out, nil
}

// Epoch returns the highest epoch that wrote.
func (l *Ledger) Epoch(ctx context.Context) (ids.Epoch, error) {
	text, err := l.rdb.Get(ctx, l.key("epoch")).Result()
	if err != nil && !isNil(err) {
		return 0, fmt.Errorf("read epoch: %w", classify(err))
	}
	return ids.Epoch(number(text)), nil
}

// Document returns the definition of a flow as the ledger has it; nil when it has
// none.
func (l *Ledger) Document(ctx context.Context, f ids.FlowID) ([]byte, error) {
	doc, err := l.rdb.Get(ctx, l.flowKey(f, "config")).Bytes()
	if err != nil && !isNil(err) {
		return nil, fmt.Errorf("read definition of %s: %w", f, classify(err))
	}
	return doc, nil
}
