package once_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/oncekey"
	"github.com/tradingflow/weather-station/worker/internal/once"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// coordinator answers as it is told, and notes what it was asked.
type coordinator struct {
	url string

	mu     sync.Mutex
	answer func(w http.ResponseWriter)
	asked  []oncekey.Request
	heard  chan struct{}
}

func says(text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { _, _ = fmt.Fprint(w, text) }
}

func fails(status int, text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { http.Error(w, text, status) }
}

const (
	granted = `{"answer":"granted"}`
	taken   = `{"answer":"taken"}`
)

func serve(t *testing.T, answer func(http.ResponseWriter)) *coordinator {
	c := &coordinator{answer: answer, heard: make(chan struct{}, 10_000)}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q oncekey.Request
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.Method != http.MethodPost || r.URL.Path != oncekey.Path {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		c.mu.Lock()
		c.asked = append(c.asked, q)
		answer := c.answer
		c.mu.Unlock()
		c.heard <- struct{}{}
		answer(w)
	}))
	t.Cleanup(srv.Close)
	c.url = srv.URL
	return c
}

func (c *coordinator) set(answer func(http.ResponseWriter)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = answer
}

func (c *coordinator) calls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.asked)
}

// book is the ledger: where the coordinators are, and what nodes wait for.
type book struct {
	mu    sync.Mutex
	found []ledger.Coordinator
	err   error
	reads int
	named []string
}

func (b *book) Coordinators(context.Context) ([]ledger.Coordinator, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	return slices.Clone(b.found), b.err
}

func (b *book) Block(_ context.Context, _ ids.Attempt, _ uuid.UUID, blocker string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.named = append(b.named, blocker)
	return b.err
}

func (b *book) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

func (b *book) announce(urls ...string) {
	b.set(func() {
		b.found = nil
		for i, u := range urls {
			b.found = append(b.found, ledger.Coordinator{ID: fmt.Sprint("c", i), URL: u, Host: "here"})
		}
	})
}

func (b *book) keys(t *testing.T, named ...string) *once.Keys {
	t.Helper()
	k, err := once.New(once.Config{Ledger: b, Coordinators: named, Host: "here", Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func claim() ledger.Claim {
	return ledger.Claim{Attempt: ids.Attempt{Flow: "f", Cycle: 3, UUID: uuid.New(), Node: "a", N: 2}, Token: uuid.New(), Occasion: uuid.New()}
}

func TestAnswers(t *testing.T) {
	for answer, want := range map[string]error{granted: nil, taken: once.ErrTaken} {
		c, b, q := serve(t, says(answer)), &book{}, claim()
		b.announce(c.url)
		k := b.keys(t)
		for range 3 {
			if err := k.Take(t.Context(), q, nil); !errors.Is(err, want) {
				t.Errorf("%s: %v", answer, err)
			}
		}
		asked := oncekey.Request{FlowID: "f", Occasion: q.Occasion.String(), NodeID: "a", Token: q.Token.String()}
		if diff := cmp.Diff([]oncekey.Request{asked, asked, asked}, c.asked); diff != "" {
			t.Error(diff)
		}
		if b.reads != 1 || len(b.named) > 0 {
			t.Errorf("the ledger was read %d times and told %q", b.reads, b.named)
		}
	}
}

// Nothing but the two answers is an answer.
func TestInsists(t *testing.T) {
	for name, bad := range map[string]func(http.ResponseWriter){
		"unavailable":     fails(503, `{"code":"unavailable"}`),
		"no such route":   fails(404, `{"answer":"granted"}`),
		"bad request":     fails(400, taken),
		"another answer":  says(`{"answer":"yes"}`),
		"no answer":       says(`{}`),
		"no JSON":         says(`granted`),
		"nothing":         says(``),
		"breaks off":      func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"sends elsewhere": func(w http.ResponseWriter) { w.Header().Set("Location", "http://127.0.0.1:1/"); w.WriteHeader(307) },
	} {
		t.Run(name, func(t *testing.T) {
			c, b := serve(t, bad), &book{}
			b.announce(c.url)
			k, done := b.keys(t), make(chan error, 1)
			go func() { done <- k.Take(t.Context(), claim(), nil) }()
			for range 4 {
				<-c.heard
			}
			select {
			case err := <-done:
				t.Fatalf("Take returned %v", err)
			default:
			}
			c.set(says(granted))
			if err := <-done; err != nil {
				t.Error(err)
			}
			if !slices.Equal(b.named, []string{ledger.BlockedByOnceKey, ""}) {
				t.Errorf("the node was said to wait for %q", b.named)
			}
			for _, q := range c.asked {
				if q != c.asked[0] {
					t.Errorf("asked for %+v, then %+v", c.asked[0], q)
				}
			}
		})
	}
}

// The one that answers is asked, and asked first the next time.
func TestAnyCoordinatorWillDo(t *testing.T) {
	down, up, b := serve(t, fails(503, "")), serve(t, says(granted)), &book{}
	b.announce("http://127.0.0.1:1", down.url, up.url)
	k := b.keys(t)
	for range 5 {
		if err := k.Take(t.Context(), claim(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if down.calls() != 1 || up.calls() != 5 {
		t.Errorf("asked %d and %d times", down.calls(), up.calls())
	}
}

// Coordinators that come, go and move are found, also after Redis forgot them.
func TestCoordinatorsAreFoundAgain(t *testing.T) {
	first, b := serve(t, says(granted)), &book{}
	k, done := b.keys(t), make(chan error, 1)
	go func() { done <- k.Take(t.Context(), claim(), nil) }()
	second := serve(t, says(granted))
	b.announce(first.url)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	first.set(fails(503, ""))
	b.announce(second.url)
	if err := k.Take(t.Context(), claim(), nil); err != nil || second.calls() != 1 {
		t.Errorf("after a move: %v, asked %d times", err, second.calls())
	}
	b.set(func() { b.err = ledger.ErrUnavailable }) // one that is known is asked all the same
	second.set(fails(503, ""))
	go func() { done <- k.Take(t.Context(), claim(), nil) }()
	for range 4 {
		<-second.heard
	}
	second.set(says(granted))
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Another machine's loopback address is nobody's.
func TestLoopbackOfAnotherMachine(t *testing.T) {
	c, b := serve(t, says(granted)), &book{}
	b.set(func() { b.found = []ledger.Coordinator{{ID: "c", URL: c.url, Host: "there"}, {ID: "d", URL: c.url}} })
	stop := make(chan struct{})
	k, done := b.keys(t), make(chan error, 1)
	go func() { done <- k.Take(t.Context(), claim(), stop) }()
	for reads := 0; reads < 4; {
		b.set(func() { reads = b.reads })
	}
	close(stop)
	if err := <-done; !errors.Is(err, once.ErrStopped) || c.calls() > 0 {
		t.Errorf("got %v after %d calls", err, c.calls())
	}
}

func TestNamedCoordinators(t *testing.T) {
	c, b := serve(t, says(granted)), &book{}
	if err := b.keys(t, " ", "http://127.0.0.1:1", c.url+"/").Take(t.Context(), claim(), nil); err != nil || b.reads > 0 {
		t.Errorf("got %v; the ledger was read %d times", err, b.reads)
	}
	_, err := once.Addresses([]string{"ftp://x", "http://ok:1", "nonsense", "http://x?y=1"})
	if err == nil {
		t.Fatal("bad addresses are accepted")
	}
	for _, bad := range []string{"ftp://x", "nonsense", "http://x?y=1"} {
		if !strings.Contains(err.Error(), bad) {
			t.Errorf("%q is not named: %v", bad, err)
		}
	}
}

var errGone = errors.New("claim lost")

// The end of the claim ends everything at once; a worker that stops lets a call
// that is out finish, so that it leaves no key behind that nobody uses.
func TestEnds(t *testing.T) {
	c, b := serve(t, fails(503, "")), &book{}
	b.announce(c.url)
	k, done := b.keys(t), make(chan error, 1)
	ctx, lose := context.WithCancelCause(t.Context())
	go func() { done <- k.Take(ctx, claim(), nil) }()
	<-c.heard
	lose(errGone)
	if err := <-done; !errors.Is(err, errGone) {
		t.Errorf("claim lost: %v", err)
	}
	if err := k.Take(ctx, claim(), nil); !errors.Is(err, errGone) {
		t.Errorf("claim lost before: %v", err)
	}

	out, answer := make(chan struct{}), make(chan struct{})
	c.set(func(w http.ResponseWriter) { close(out); <-answer; says(granted)(w) })
	stop := make(chan struct{})
	go func() { done <- k.Take(t.Context(), claim(), stop) }()
	<-out
	close(stop)
	close(answer)
	if err := <-done; err != nil {
		t.Errorf("stopped while the call was out: %v", err)
	}
	before := c.calls()
	if err := k.Take(t.Context(), claim(), stop); !errors.Is(err, once.ErrStopped) || c.calls() != before {
		t.Errorf("stopped before: %v", err)
	}
}

// A coordinator that hangs does not hold up the one that would answer.
func TestHang(t *testing.T) {
	release := make(chan struct{})
	hangs, up, b := serve(t, func(http.ResponseWriter) { <-release }), serve(t, says(taken)), &book{}
	defer close(release)
	b.announce(hangs.url, up.url)
	began := time.Now()
	if err := b.keys(t).Take(t.Context(), claim(), nil); !errors.Is(err, once.ErrTaken) {
		t.Error(err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}
