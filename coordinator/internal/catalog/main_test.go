package catalog

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

func connect(t *testing.T) *clientv3.Client {
	t.Helper()
	v := os.Getenv("STATION_TEST_ETCD_ENDPOINTS")
	if v == "" {
		const msg = "STATION_TEST_ETCD_ENDPOINTS names no etcd; make test starts one"
		if os.Getenv("STATION_TEST_REQUIRE") == "1" {
			t.Fatal(msg)
		}
		t.Skip(msg)
	}
	return dial(t, strings.Split(v, ",")...)
}

func dial(t *testing.T, endpoints ...string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 3 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// prefix gives each test keys of its own, removed at its end.
func prefix(t *testing.T, c *clientv3.Client) string {
	p := "test-" + uuid.NewString()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if _, err := c.Delete(ctx, p+"/", clientv3.WithPrefix()); err != nil {
			t.Errorf("remove test keys: %v", err)
		}
	})
	return p
}

func open(t *testing.T, c *clientv3.Client, prefix string) *Catalog {
	t.Helper()
	cat, err := New(Config{Client: c, Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

// follow runs a catalog until the test ends and waits for its first load.
func follow(t *testing.T, cat *Catalog) *Catalog {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- cat.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not return")
		}
	})
	select {
	case <-cat.Synced():
	case <-time.After(patience):
		t.Fatal("not synced")
	}
	return cat
}

func background(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// want builds the same record whatever is there.
func want(doc string) func(*Record) (Record, error) {
	return func(old *Record) (Record, error) {
		anchor := time.UnixMilli(1_000)
		if old != nil {
			anchor = old.Anchor
		}
		return Record{Document: json.RawMessage(doc), Anchor: anchor}, nil
	}
}

// until waits for a condition, looking at it after each change that the
// subscription tells.
func until(t *testing.T, s *Subscription, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-s.Ready():
			s.Take()
		case <-deadline:
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}
