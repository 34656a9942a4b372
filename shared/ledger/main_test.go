package ledger_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/shared/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is one Redis that tests open ledgers on.
type server struct{ url string }

// embedded starts a Redis inside the test's process.
func embedded(t testing.TB) server {
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	age(t, m)
	return server{"redis://" + m.Addr()}
}

// age lets keys expire as time passes. The server's own way (ClockTTL) sorts all
// keys at every command, inside scripts too.
func age(t testing.TB, m *miniredis.Miniredis) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		const step = 20 * time.Millisecond
		tick := time.NewTicker(step)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				m.FastForward(step)
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-stopped })
}

// real returns the Redis that the environment names.
func real(t testing.TB) server {
	url := os.Getenv("STATION_TEST_REDIS_URL")
	if url == "" {
		if os.Getenv("STATION_TEST_REQUIRE") == "1" {
			t.Fatal("STATION_TEST_REDIS_URL is not set and STATION_TEST_REQUIRE=1")
		}
		t.Skip("STATION_TEST_REDIS_URL is not set; make test starts a server and sets it")
	}
	return server{url}
}

func servers() map[string]func(testing.TB) server {
	return map[string]func(testing.TB) server{"embedded": embedded, "real": real}
}

// open gives a test a ledger under a prefix of its own and removes its keys at
// the end.
func (s server) open(t testing.TB) *ledger.Ledger {
	l, _ := s.openRaw(t)
	return l
}

func (s server) openRaw(t testing.TB) (*ledger.Ledger, redis.Cmdable) {
	t.Helper()
	l, err := ledger.Open(t.Context(), ledger.Config{URL: s.url, Prefix: "test-{" + uuid.NewString() + "}", Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := l.Node(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background() // the test's is over
		keys, err := raw.Keys(ctx, l.Prefix()+":*").Result()
		if err == nil && len(keys) > 0 {
			err = raw.Unlink(ctx, keys...).Err()
		}
		if err != nil {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, raw
}

// draw opens a ledger for one draw of a property; the second result ends it.
func (s server) draw(t testing.TB) (*ledger.Ledger, func()) {
	t.Helper()
	l, err := ledger.Open(t.Context(), ledger.Config{URL: s.url, Prefix: "test-{" + uuid.NewString() + "}"})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := l.Node(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l, func() {
		keys, err := raw.Keys(t.Context(), l.Prefix()+":*").Result()
		if err == nil && len(keys) > 0 {
			err = raw.Unlink(t.Context(), keys...).Err()
		}
		for _, e := range []error{err, l.Close()} {
			if e != nil {
				t.Error(e)
			}
		}
	}
}
