package once

import (
	"context"
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

func dial(t testing.TB, endpoints ...string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 3 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// open returns a store with keys of its own, which are removed at the end.
func open(t testing.TB) *Store {
	t.Helper()
	v := os.Getenv("STATION_TEST_ETCD_ENDPOINTS")
	if v == "" {
		const msg = "STATION_TEST_ETCD_ENDPOINTS names no etcd; make test starts one"
		if os.Getenv("STATION_TEST_REQUIRE") == "1" {
			t.Fatal(msg)
		}
		t.Skip(msg)
	}
	c, prefix := dial(t, strings.Split(v, ",")...), "test-"+uuid.NewString()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if _, err := c.Delete(ctx, prefix+"/", clientv3.WithPrefix()); err != nil {
			t.Errorf("remove test keys: %v", err)
		}
	})
	s, err := New(Config{Client: c, Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var deleteAll = clientv3.WithPrefix()
