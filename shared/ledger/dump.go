package ledger

import (
	"context"
	"fmt"
	"sort"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Dump returns every key of the ledger with its content as text: fields and
// members sorted, one a line. It reads key by key, so it is a picture of one
// moment only while nobody writes: for tests and for looking at a small ledger.
func (l *Ledger) Dump(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	node, err := l.node(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the server: %w", classify(err))
	}
	for cursor := uint64(0); ; {
		keys, next, err := node.Scan(ctx, cursor, escapePattern(l.prefix)+":*", 1000).Result()
		if err != nil {
			return nil, fmt.Errorf("scan keys: %w", classify(err))
		}
		for _, k := range keys {
			if out[k], err = l.dumpKey(ctx, k); err != nil {
				return nil, fmt.Errorf("dump %s: %w", k, classify(err))
			}
		}
		if cursor = next; cursor == 0 {
			return out, nil
		}
	}
}

func (l *Ledger) dumpKey(ctx context.Context, key string) (string, error) {
	kind, err := l.rdb.Type(ctx, key).Result()
	if err != nil {
		return "", err
	}
	var lines []string
	switch kind {
	case "string":
		return l.rdb.Get(ctx, key).Result()
	case "hash":
		m, err := l.rdb.HGetAll(ctx, key).Result()
		if err != nil {
			return "", err
		}
		for k, v := range m {
			lines = append(lines, k+"="+v)
		}
	case "set":
		if lines, err = l.rdb.SMembers(ctx, key).Result(); err != nil {
			return "", err
		}
	case "zset":
		all, err := l.rdb.ZRangeWithScores(ctx, key, 0, -1).Result()
		if err != nil {
			return "", err
		}
		for _, z := range all {
			lines = append(lines, fmt.Sprintf("%v %.0f", z.Member, z.Score))
		}
	case "list":
		lines, err := l.rdb.LRange(ctx, key, 0, -1).Result()
		return strings.Join(lines, "\n"), err
	case "stream":
		msgs, err := l.rdb.XRange(ctx, key, "-", "+").Result()
		if err != nil {
			return "", err
		}
		for _, m := range msgs {
			lines = append(lines, named(m)...)
		}
		return strings.Join(lines, "\n"), nil
	default:
		return kind, nil
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n"), nil
}

func escapePattern(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}

// named returns the lines of an entry of a stream, with a name for each value.
func named(m redis.XMessage) (lines []string) {
	line := func(id string, names, values []string) {
		out := map[string]any{}
		for i, name := range names {
			out[name] = values[i]
		}
		lines = append(lines, id+" "+fmt.Sprint(out)) // fmt prints maps sorted by key
	}
	switch {
	case m.Values[journalField] != nil:
		for id, values := range parts(m) {
			line(id, journalFields, values)
		}
	case m.Values[outboxField] != nil:
		line(m.ID, outboxFields, fields(m, outboxField, outboxFields))
	default:
		lines = append(lines, m.ID+" "+fmt.Sprint(m.Values))
	}
	return lines
}
