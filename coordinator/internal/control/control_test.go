package control_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/catalog"
	"github.com/tradingflow/weather-station/coordinator/internal/control"
	"github.com/tradingflow/weather-station/coordinator/internal/election"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/mirror"
	"github.com/tradingflow/weather-station/coordinator/internal/plans"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/shared/taskqueue/inproc"
)

const patience = 20 * time.Second

// alone says that nobody leads.
type alone struct{}

func (alone) Leader(context.Context) (election.Leader, error) {
	return election.Leader{}, election.ErrNoLeader
}

func (alone) Members(context.Context) ([]election.Candidate, error) { return nil, nil }

// depths is a broker that is never asked for much.
type depths struct{ *inproc.Admin }

func (d depths) Depth(ctx context.Context, q string) (taskqueue.Depth, error) {
	return d.Admin.Depth(ctx, q)
}

// site is one etcd prefix and one Redis that coordinators share.
type site struct {
	ends  control.Endings
	leads bool // its coordinators lead
	*testing.T
	redis  *miniredis.Miniredis
	ledger *ledger.Ledger
	prefix string
	broker *inproc.Broker
}

func open(t *testing.T) *site {
	t.Helper()
	s := &site{T: t, redis: miniredis.RunT(t), prefix: "test-" + uuid.NewString(), broker: inproc.New("station")}
	t.Cleanup(s.broker.Close)
	var err error
	if s.ledger, err = ledger.Open(t.Context(), ledger.Config{URL: "redis://" + s.redis.Addr()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.ledger.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.ledger.Takeover(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) etcd(endpoints ...string) *clientv3.Client {
	s.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 3 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = c.Close() })
	return c
}

func (s *site) real() *clientv3.Client {
	s.Helper()
	v := os.Getenv("STATION_TEST_ETCD_ENDPOINTS")
	if v == "" {
		const msg = "STATION_TEST_ETCD_ENDPOINTS names no etcd; make test starts one"
		if os.Getenv("STATION_TEST_REQUIRE") == "1" {
			s.Fatal(msg)
		}
		s.Skip(msg)
	}
	c := s.etcd(strings.Split(v, ",")...)
	s.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if _, err := c.Delete(ctx, s.prefix+"/", clientv3.WithPrefix()); err != nil {
			s.Errorf("remove test keys: %v", err)
		}
	})
	return c
}

// coordinator starts what a coordinator needs to answer calls.
func (s *site) coordinator(id string, etcd *clientv3.Client) *control.Control {
	s.Helper()
	log := hclog.NewNullLogger()
	cat, err := catalog.New(catalog.Config{Client: etcd, Prefix: s.prefix})
	if err != nil {
		s.Fatal(err)
	}
	reg := registry.New(cat, log)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = cat.Run(ctx) })
	all.Go(func() { _ = reg.Run(ctx) })
	s.Cleanup(func() { cancel(); all.Wait() })
	if etcd.Endpoints()[0] != dead {
		select {
		case <-reg.Ready():
		case <-time.After(patience):
			s.Fatal("flows are not loaded")
		}
	}
	return control.New(control.Config{Catalog: cat, Registry: reg,
		Parts: []control.Part{{Ledger: s.ledger, Plans: plans.New(s.ledger, reg), Mirror: mirror.New(s.ledger, reg, log), Election: alone{}, Leads: func() bool { return s.leads }}}, Depths: depths{s.broker.Admin()}, Endings: &s.ends, Prefix: "station", ID: id, CheckExpr: func(string) error { return nil },
		Ready: func(context.Context) []api.Dependency { return nil }, Log: log})
}

// dead is an address where no etcd listens.
const dead = "127.0.0.1:1"

// purge removes deleted flows as a leader does, until the test ends.
func (s *site) purge() {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		t := time.NewTicker(20 * time.Millisecond)
		defer t.Stop()
		for ctx.Err() == nil {
			known, err := s.ledger.FlowIDs(ctx)
			for _, f := range known {
				if st, err := s.ledger.Flow(ctx, f); err == nil && st.Status == "deleting" {
					_, err = s.ledger.PurgeFlow(ctx, 1, f, "")
					if err != nil && ctx.Err() == nil {
						s.Error(err)
					}
				}
			}
			if err != nil && ctx.Err() == nil {
				s.Error(err)
			}
			select {
			case <-t.C:
			case <-ctx.Done():
			}
		}
	})
	s.Cleanup(func() { cancel(); all.Wait() })
}

func body(id, name string) []byte {
	return fmt.Appendf(nil, `{"flow_id":%q,"name":%q,"schedule_type":"manual","nodes":[{"id":"a","type":"delay"}],"edges":[]}`, id, name)
}

func (s *site) register(c *control.Control, doc []byte) api.Registered {
	s.Helper()
	r, err := c.Register(s.Context(), doc, httpapi.RegisterOptions{})
	if err != nil {
		s.Fatal(err)
	}
	return r
}

func conflict(t *testing.T, err error, code string) {
	t.Helper()
	var c *httpapi.Conflict
	if !errors.As(err, &c) || c.Code != code {
		t.Errorf("error is %v, want a conflict %q", err, code)
	}
}

func notFound(t *testing.T, err error) {
	t.Helper()
	var n *httpapi.NotFound
	if !errors.As(err, &n) {
		t.Errorf("error is %v, want not found", err)
	}
}

func unavailable(t *testing.T, err error, what string) {
	t.Helper()
	var u *httpapi.Unavailable
	if !errors.As(err, &u) || u.What != what {
		t.Errorf("error is %v, want %s unavailable", err, what)
	}
}

func TestTheSameDocumentAtOnceOnTwoCoordinators(t *testing.T) {
	s := open(t)
	etcd := s.real()
	both := []*control.Control{s.coordinator("a", etcd), s.coordinator("b", etcd)}
	for round := range 5 {
		id := fmt.Sprintf("f%d", round)
		var got [2]api.Registered
		var all sync.WaitGroup
		for i, c := range both {
			all.Go(func() {
				var err error
				if got[i], err = c.Register(t.Context(), body(id, "n"), httpapi.RegisterOptions{}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got[0].Revision != 1 || got[1].Revision != 1 || got[0].Changed == got[1].Changed || got[0].Created == got[1].Created {
			t.Errorf("answers: %+v", got)
		}
		if st, err := s.ledger.Flow(t.Context(), ids.FlowID(id)); err != nil || st.Status != "active" || st.Revision != 1 {
			t.Errorf("the ledger has %+v, %v", st, err)
		}
	}
}

func TestALife(t *testing.T) {
	s := open(t)
	s.purge()
	etcd := s.real()
	a, b := s.coordinator("a", etcd), s.coordinator("b", etcd)
	ctx := t.Context()
	if r := s.register(a, body("f", "n")); !r.Created || !r.Changed || r.Revision != 1 {
		t.Errorf("first: %+v", r)
	}
	if r := s.register(b, body("f", "n")); r.Created || r.Changed || r.Revision != 1 {
		t.Errorf("again: %+v", r)
	}
	if r := s.register(b, body("f", "other")); r.Created || !r.Changed || r.Revision != 2 {
		t.Errorf("edited: %+v", r)
	}
	one, err := a.StartCycle(ctx, "f", "key") // it may know revision 1 alone
	if err != nil || one.Cycle != 1 || one.Revision != 2 {
		t.Fatalf("start: %+v, %v", one, err)
	}
	if same, err := b.StartCycle(ctx, "f", "key"); err != nil || same.UUID != one.UUID {
		t.Errorf("the same key: %+v, %v", same, err)
	}
	_, err = b.StartCycle(ctx, "f", "")
	conflict(t, err, "cycle_running")
	for range 2 {
		if f, err := b.PauseFlow(ctx, "f"); err != nil || f.Status != api.FlowPaused {
			t.Errorf("pause: %+v, %v", f, err)
		}
	}
	_, refusal, err := s.ledger.Claim(ctx, ledger.ClaimRequest{Attempt: ids.Attempt{Flow: "f", Cycle: 1, UUID: uuid.MustParse(one.UUID), Node: "a", N: 1},
		Token: uuid.New(), Worker: "w", Lease: time.Second})
	if err != nil || refusal != ledger.Held {
		t.Errorf("a claim in a paused flow: %v, %v", refusal, err)
	}
	_, err = a.StartCycle(ctx, "f", "other")
	conflict(t, err, "paused")
	for range 2 {
		if f, err := a.ResumeFlow(ctx, "f"); err != nil || f.Status != api.FlowActive {
			t.Errorf("resume: %+v, %v", f, err)
		}
	}
	if c, err := b.CancelCycle(ctx, "f", 1); err != nil || c.Status != "cancelling" {
		t.Errorf("cancel: %+v, %v", c, err)
	}
	_, err = b.CancelCycle(ctx, "f", 7)
	notFound(t, err)
	_, err = b.GetNode(ctx, "f", 1, "nope")
	notFound(t, err)
	if n, err := b.GetNode(ctx, "f", 1, "a"); err != nil || n.NodeID != "a" {
		t.Errorf("node: %+v, %v", n, err)
	}
	_, err = b.StartCycle(ctx, "none", "")
	notFound(t, err)
	_, err = b.PauseFlow(ctx, "none")
	notFound(t, err)
	notFound(t, b.DeleteFlow(ctx, "none"))
}

func TestRunCycleWaitsForTheEnd(t *testing.T) {
	s := open(t)
	ends := &s.ends
	a := s.coordinator("a", s.real())
	s.register(a, body("f", "n"))
	s.register(a, body("g", "n"))
	started, err := a.StartCycle(t.Context(), "f", "key")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := a.RunCycle(t.Context(), "f", "key", 10*time.Millisecond); err != nil || c.Status != api.CycleRunning || c.UUID != started.UUID {
		t.Errorf("when the wait is over: %+v, %v", c, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := a.RunCycle(t.Context(), "f", "key", time.Minute); err != nil || c.Status != api.CycleCompleted || c.UUID != started.UUID {
			t.Errorf("when it has ended: %+v, %v", c, err)
		}
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; { // until it listens
		ends.Ended(ledger.CycleState{Flow: "f", UUID: uuid.New(), Status: api.CycleFailed}) // another cycle
		ends.Ended(ledger.CycleState{Flow: "g", UUID: uuid.MustParse(started.UUID), Status: api.CycleFailed})
		ends.Ended(ledger.CycleState{Flow: "f", UUID: uuid.MustParse(started.UUID), Status: api.CycleCompleted})
		select {
		case <-done:
			waiting = false
		case <-tick.C:
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.RunCycle(ctx, "f", "key", time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("when nobody waits any more: %v", err)
	}
	_, err = a.RunCycle(t.Context(), "none", "", time.Minute)
	notFound(t, err)
}

// TestLeaderLooksRarely: who hears of every end does not look for one ever again; one
// that nobody tells of is found all the same.
func TestLeaderLooksRarely(t *testing.T) {
	s := open(t)
	a := s.coordinator("a", s.real())
	s.register(a, body("f", "n"))
	started, err := a.StartCycle(t.Context(), "f", "key")
	if err != nil {
		t.Fatal(err)
	}
	calls := func(wait time.Duration) int {
		before := s.redis.CommandCount()
		if _, err := a.RunCycle(t.Context(), "f", "key", wait); err != nil {
			t.Fatal(err)
		}
		return s.redis.CommandCount() - before
	}
	at := calls(time.Millisecond)
	if n := calls(450 * time.Millisecond); n <= at {
		t.Errorf("a follower makes %d calls in a long wait and %d in a short one", n, at)
	}
	s.leads = true
	if n := calls(450 * time.Millisecond); n != at {
		t.Errorf("a leader makes %d calls in a long wait and %d in a short one", n, at)
	}
	end := time.AfterFunc(50*time.Millisecond, func() { s.redis.HSet("station:flow:f:cycle:1:status", "status", api.CycleCompleted) })
	defer end.Stop()
	if c, err := a.RunCycle(t.Context(), "f", "key", time.Minute); err != nil || c.Status != api.CycleCompleted || c.UUID != started.UUID {
		t.Errorf("when it ended in silence: %+v, %v", c, err)
	}
}

func TestDeletedAndMadeAgain(t *testing.T) {
	s := open(t)
	s.purge()
	etcd := s.real()
	a, b := s.coordinator("a", etcd), s.coordinator("b", etcd)
	for round := range 5 {
		s.register(a, body("f", "n"))
		if err := b.DeleteFlow(t.Context(), "f"); err != nil {
			t.Fatal(err)
		}
		if r := s.register(a, body("f", fmt.Sprint(round))); !r.Created || r.Revision != 1 {
			t.Errorf("made again: %+v", r)
		}
		if c, err := b.StartCycle(t.Context(), "f", ""); err != nil || c.Cycle != 1 {
			t.Errorf("its first cycle: %+v, %v", c, err)
		}
		if err := a.DeleteFlow(t.Context(), "f"); err == nil {
			// its cycle is left, as no leader removes it here
			if err := s.ledger.DeleteCycles(t.Context(), 1, "f", []int64{1}, [][]ids.NodeID{{"a"}}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestADeletedFlowIsNotBroughtBack by a coordinator that has not heard of it.
func TestADeletedFlowIsNotBroughtBack(t *testing.T) {
	s := open(t)
	s.purge()
	etcd := s.real()
	a, b := s.coordinator("a", etcd), s.coordinator("b", etcd)
	for i := range 10 {
		id := ids.FlowID(fmt.Sprintf("f%d", i))
		s.register(a, body(string(id), "n"))
		if _, err := b.GetFlow(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if err := a.DeleteFlow(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if c, err := b.StartCycle(t.Context(), id, ""); err == nil {
			t.Errorf("cycle %d of a deleted flow was started", c.Cycle)
		}
	}
}

func TestRedisIsEmptied(t *testing.T) {
	s := open(t)
	a := s.coordinator("a", s.real())
	s.register(a, body("f", "n"))
	s.register(a, body("g", "n"))
	if _, err := a.PauseFlow(t.Context(), "g"); err != nil {
		t.Fatal(err)
	}
	s.redis.FlushAll()
	if c, err := a.StartCycle(t.Context(), "f", ""); err != nil || c.Cycle != 1 {
		t.Errorf("start: %+v, %v", c, err)
	}
	_, err := a.StartCycle(t.Context(), "g", "")
	conflict(t, err, "paused")
	if f, err := a.ResumeFlow(t.Context(), "g"); err != nil || f.Status != api.FlowActive {
		t.Errorf("resume: %+v, %v", f, err)
	}
}

func TestRedisIsAway(t *testing.T) {
	s := open(t)
	a := s.coordinator("a", s.real())
	s.register(a, body("f", "n"))
	s.redis.SetError("LOADING Redis is loading the dataset in memory")
	ctx := t.Context()
	_, err := a.Register(ctx, body("g", "n"), httpapi.RegisterOptions{})
	unavailable(t, err, "redis")
	_, err = a.StartCycle(ctx, "f", "")
	unavailable(t, err, "redis")
	_, err = a.PauseFlow(ctx, "f")
	unavailable(t, err, "redis")
	_, err = a.ListFlows(ctx)
	unavailable(t, err, "redis")
	unavailable(t, a.DeleteFlow(ctx, "f"), "redis") // etcd has it deleted; the answer says nothing for sure
	s.redis.SetError("")
	if err := a.DeleteFlow(ctx, "f"); err != nil {
		t.Errorf("the same call again: %v", err)
	}
	notFound(t, a.DeleteFlow(ctx, "f-never"))
	if st, err := s.ledger.Flow(ctx, "f"); err != nil || st.Status != "deleting" {
		t.Errorf("the ledger has %+v, %v", st, err)
	}
}

func TestEtcdIsAway(t *testing.T) {
	s := open(t)
	a := s.coordinator("a", s.etcd(dead))
	_, err := a.Register(t.Context(), body("f", "n"), httpapi.RegisterOptions{})
	unavailable(t, err, "etcd")
	if keys, err := s.ledger.FlowIDs(t.Context()); err != nil || len(keys) > 0 {
		t.Errorf("the ledger knows %v, %v", keys, err)
	}
	unavailable(t, a.DeleteFlow(t.Context(), "f"), "etcd")
}

func TestBadDocuments(t *testing.T) {
	s := open(t)
	a := s.coordinator("a", s.etcd(dead)) // neither store is asked for anything that is written
	for _, doc := range []string{``, `{`, `[]`, `{"flow_id":"a b","name":"n","nodes":[]}`,
		`{"flow_id":"f","name":"n","schedule_type":"manual","nodes":[{"id":"a","type":"no-such-type"}],"edges":[]}`} {
		_, err := a.Register(t.Context(), []byte(doc), httpapi.RegisterOptions{})
		var bad *httpapi.Invalid
		if !errors.As(err, &bad) || len(bad.Faults) == 0 {
			t.Errorf("%q: %v", doc, err)
		}
	}
	r, err := a.Register(t.Context(), body("f", "n"), httpapi.RegisterOptions{ValidateOnly: true})
	if err != nil || !r.Validated {
		t.Errorf("check alone: %+v, %v", r, err)
	}
}
