package election

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testTTL  = time.Second
	patience = 20 * time.Second
)

func endpoints(t *testing.T) []string {
	t.Helper()
	v := os.Getenv("STATION_TEST_ETCD_ENDPOINTS")
	if v == "" {
		const msg = "STATION_TEST_ETCD_ENDPOINTS names no etcd; make test starts one"
		if os.Getenv("STATION_TEST_REQUIRE") == "1" {
			t.Fatal(msg)
		}
		t.Skip(msg)
	}
	return strings.Split(v, ",")
}

func connect(t *testing.T, eps ...string) *clientv3.Client {
	t.Helper()
	if len(eps) == 0 {
		eps = endpoints(t)
	}
	c, err := Connect(ConnectConfig{Endpoints: eps})
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

// station is one elector under test and what its leading function does.
type station struct {
	*Elector
	t     *testing.T
	stop  context.CancelFunc
	ended chan error    // result of Run
	terms chan *holding // each election, in order
	quit  chan struct{}
	busy  chan struct{} // one token: held while a leading function runs
}

// holding is one call of the leading function. It runs until fail yields, or
// until its context has ended and finish is closed.
type holding struct {
	Term
	ctx    context.Context
	fail   chan error    // makes the function return this
	finish chan struct{} // lets it return after its context has ended
}

func start(t *testing.T, c *clientv3.Client, prefix, id string) *station {
	t.Helper()
	return startWith(t, c, prefix, id, testTTL)
}

func startWith(t *testing.T, c *clientv3.Client, prefix, id string, ttl time.Duration) *station {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Config{Client: c, Prefix: prefix, ID: id, TTL: ttl, Presence: ln})
	if err != nil {
		t.Fatal(err)
	}
	return run(t, e)
}

func run(t *testing.T, e *Elector) *station {
	t.Helper()
	id := e.cfg.ID
	ctx, cancel := context.WithCancel(context.Background())
	s := &station{
		Elector: e, t: t, stop: cancel, ended: make(chan error, 1),
		terms: make(chan *holding, 100), busy: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	go func() { s.ended <- e.Run(ctx, s.lead) }()
	t.Cleanup(func() {
		close(s.quit)
		cancel()
		select {
		case err := <-s.ended:
			if err != nil {
				t.Errorf("%s: Run: %v", id, err)
			}
			s.ended <- nil
		case <-time.After(patience):
			t.Errorf("%s: Run does not return", id)
		}
	})
	return s
}

func (s *station) lead(ctx context.Context, term Term) error {
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	default:
		s.t.Errorf("%s leads twice at once", s.cfg.ID)
	}
	h := &holding{Term: term, ctx: ctx, fail: make(chan error, 1), finish: make(chan struct{})}
	s.terms <- h
	select {
	case err := <-h.fail:
		return err
	case <-ctx.Done():
	}
	select {
	case <-h.finish:
	case <-s.quit: // the test is over, perhaps early
	}
	return ctx.Err()
}

// elected waits for the station's next term, whose leading function returns as
// soon as its context ends.
func (s *station) elected() *holding {
	s.t.Helper()
	h := s.electedSlow()
	close(h.finish)
	return h
}

// electedSlow is elected for a leading function that returns only when the test
// closes finish.
func (s *station) electedSlow() *holding {
	s.t.Helper()
	return receive(s.t, s.terms, s.cfg.ID+" is elected")
}

func (s *station) notElected() {
	s.t.Helper()
	select {
	case h := <-s.terms:
		close(h.finish)
		s.t.Fatalf("%s is elected with epoch %d", s.cfg.ID, h.Epoch)
	default:
	}
}

func receive[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %v in vain: %s", patience, what)
		panic("unreachable")
	}
}

// until polls a condition that nothing signals.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

// members waits until n candidates stand, as the station sees it.
func (s *station) members(n int) []Candidate {
	s.t.Helper()
	var all []Candidate
	until(s.t, fmt.Sprintf("%d members", n), func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		var err error
		if all, err = s.Members(ctx); err != nil {
			s.t.Fatal(err)
		}
		return len(all) == n
	})
	return all
}

func background(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
