package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestTheJournalIsAsLongAsIsAsked: coordinators are set to keep more than is usual, and no
// worker's call cuts it.
func TestTheJournalIsAsLongAsIsAsked(t *testing.T) {
	t.Parallel()
	c := start(t, setup{single: true}) // with --journal-max 2000000
	c.register(t, chain("chain", 0))
	o, err := redis.ParseURL(c.redis)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(o)
	defer func() { _ = rdb.Close() }()
	const usual = 200_000
	long := usual + 10_000
	for range long / 10_000 {
		all := rdb.Pipeline()
		for range 10_000 {
			all.XAdd(c.ctx, &redis.XAddArgs{Stream: c.prefix + ":journal", Values: []string{"op", "filler"}})
		}
		if _, err := all.Exec(c.ctx); err != nil {
			t.Fatal(err)
		}
	}
	n := c.run(t, "chain")
	c.until(t, 20*time.Second, "end of the cycle", func() (bool, string) {
		s, err := c.api.Cycle(c.ctx, "chain", n)
		return err == nil && s.Status == "completed", fmt.Sprint(s.Status, err)
	})
	if kept := rdb.XLen(c.ctx, c.prefix+":journal").Val(); kept < int64(long) {
		t.Errorf("the journal keeps %d records of more than %d", kept, long)
	}
}
