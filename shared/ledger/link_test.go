package ledger

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// gate stops what a client sends until it is opened, and counts it.
type gate struct {
	mu      sync.Mutex
	opened  chan struct{}
	reached chan struct{} // one for each command or pipeline
	single  int
	parts   []int
}

func newGate(c redis.UniversalClient) *gate {
	g := &gate{opened: make(chan struct{}), reached: make(chan struct{}, 1000)}
	c.AddHook(g)
	return g
}

func (g *gate) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (g *gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !isScript(cmd) {
			return next(ctx, cmd)
		}
		g.mu.Lock()
		g.single++
		g.mu.Unlock()
		g.reached <- struct{}{}
		<-g.opened
		return next(ctx, cmd)
	}
}

func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if !isScript(cmds[0]) {
			return next(ctx, cmds)
		}
		g.mu.Lock()
		g.parts = append(g.parts, len(cmds))
		g.mu.Unlock()
		g.reached <- struct{}{}
		<-g.opened
		return next(ctx, cmds)
	}
}

// counting counts the scripts that a client sends.
type counting struct{ n atomic.Int64 }

func countScripts(c redis.UniversalClient) *counting {
	n := &counting{}
	c.AddHook(n)
	return n
}

func (n *counting) DialHook(next redis.DialHook) redis.DialHook { return next }

func (n *counting) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (n *counting) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			if isScript(cmd) {
				n.n.Add(1)
			}
		}
		return next(ctx, cmds)
	}
}

// isScript tells scripts from what the client asks for itself on a new connection.
func isScript(cmd redis.Cmder) bool { return cmd.Name() == "evalsha" || cmd.Name() == "eval" }

// echo answers with what it was called with.
var echo = redis.NewScript("return { 1, ARGV[1] }")

func call(arg any) *request { return &request{text: echo, keys: []string{"x"}, args: []any{arg}} }

func inLine(r *request) *request {
	r.done = make(chan struct{})
	return r
}

// queued waits until n calls stand in line.
func (k *link) queued(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d calls in line", n), func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return len(k.line) == n
	})
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick, over := time.NewTicker(time.Millisecond), time.After(10*time.Second)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("never: %s", what)
		}
	}
}

// called makes n calls at once and requires that each gets its own answer.
func called(t *testing.T, k *link, wg *sync.WaitGroup, from, n int) {
	for i := from; i < from+n; i++ {
		wg.Go(func() {
			v, err := k.run(context.Background(), call(i))
			if err != nil || reply(v).int(1) != int64(i) {
				t.Errorf("call %d was answered %v, %v", i, v, err)
			}
		})
	}
}

func TestCallsInLineShareARoundTrip(t *testing.T) {
	onBoth(t, func(t *testing.T, l *Ledger) {
		k, g := l.link, newGate(l.link.hop)
		var wg sync.WaitGroup
		called(t, k, &wg, 0, roundTrips)
		for range roundTrips {
			<-g.reached
		}
		called(t, k, &wg, 100, mostCalls)
		k.queued(t, mostCalls)
		called(t, k, &wg, 200, 5)
		k.queued(t, mostCalls+5)
		close(g.opened)
		wg.Wait()
		k.wait.Wait()
		sum := 0
		for _, n := range g.parts {
			if n > mostCalls {
				t.Errorf("a part has %d calls", n)
			}
			sum += n
		}
		// Each part may have been sent twice, since the server did not know the script.
		if len(g.parts) > 4 || sum+g.single < mostCalls+5+roundTrips {
			t.Errorf("parts of %v and %d single calls", g.parts, g.single)
		}
		if k.out != 0 || len(k.line) != 0 {
			t.Errorf("%d places are taken, %d stand in line", k.out, len(k.line))
		}
	})
}

// A script that the server threw out is known again after one more round trip.
func TestAPartMeetsAServerWithoutScripts(t *testing.T) {
	onBoth(t, func(t *testing.T, l *Ledger) {
		k := l.link
		if err := l.rdb.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		part := make([]*request, 10)
		for i := range part {
			part[i] = inLine(call(i))
		}
		part[7].text = redis.NewScript("return redis.error_reply('ODD no')")
		k.exchange(part)
		for i, r := range part {
			<-r.done
			v, err := r.reply, r.err
			if i == 7 {
				if err == nil || err.Error() != "ODD no" {
					t.Errorf("the odd one: %v, %v", v, err)
				}
			} else if err != nil || reply(v).int(1) != int64(i) {
				t.Errorf("call %d was answered %v, %v", i, v, err)
			}
		}
	})
}

// Calls that one script takes are one command; what it leaves, and all if it fails, is
// called by itself.
func TestSeveralCallsAreOneScript(t *testing.T) {
	onBoth(t, func(t *testing.T, l *Ledger) {
		single := redis.NewScript("if ARGV[6] == '7' then return redis.error_reply('ODD no') end return { 1, ARGV[1] .. ARGV[6] }")
		several := redis.NewScript("local r = {} for i = 6, #ARGV do r[i - 5] = ARGV[i] ~= '5' and { 1, 'with ' .. ARGV[i] } or 0 end return r")
		odd := redis.NewScript("return redis.error_reply('ODD no')")
		for _, c := range []struct {
			several *redis.Script
			want    string
			scripts int
		}{
			{several, "[with 0 with 1 with 2 with 3 with 4 x5 with 6 with 7 with 8 with 9]", 2},
			{odd, "[x0 x1 x2 x3 x4 x5 x6 ODD no x8 x9]", 11},
		} {
			for range 2 { // the server does not know the scripts at first
				part := make([]*request, 10)
				for i := range part {
					part[i] = inLine(&request{text: single, several: c.several, keys: []string{"x"}, args: []any{"x", 0, "w", 1, 2, i}})
				}
				count := countScripts(l.link.hop)
				l.link.exchange(part)
				var got []string
				for _, r := range part {
					<-r.done
					if r.err != nil {
						got = append(got, r.err.Error())
					} else {
						got = append(got, reply(r.reply).text(1))
					}
				}
				if fmt.Sprint(got) != c.want {
					t.Errorf("answers are %v", got)
				}
				if n := count.n.Load(); n > int64(2*c.scripts) {
					t.Errorf("%d scripts were called", n)
				}
			}
		}
	})
}

func TestBoundsOfAScriptForSeveral(t *testing.T) {
	several, other := redis.NewScript("1"), redis.NewScript("2")
	var part []*request
	add := func(n int, text *redis.Script, key string, args int) {
		for range n {
			part = append(part, &request{several: text, keys: []string{key}, args: make([]any, args)})
		}
	}
	add(mostTogether+3, several, "x", 10)
	add(2, several, "y", 10)
	add(2, nil, "x", 10)
	add(1, other, "x", mostArgs+1)
	add(2, other, "x", 10)
	add(2, other, "x", 10)
	for _, r := range part[len(part)-2:] {
		r.args[alike-1] = "of others"
	}
	add(1, other, "x", 10) // behind those of others, though it would fit with those before
	var sizes []int
	for _, s := range together(part) {
		sizes = append(sizes, len(s.calls))
	}
	if fmt.Sprint(sizes) != fmt.Sprint([]int{mostTogether, 3, 2, 1, 1, 1, 2, 2, 1}) {
		t.Errorf("scripts of %v calls", sizes)
	}
}

// A context that ends takes a call out of the line, but none back that is out.
func TestAContextEndsOnlyWhatStandsInLine(t *testing.T) {
	l := openEmbedded(t)
	k, g := l.link, newGate(l.link.hop)
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	type answer struct {
		v   []any
		err error
	}
	out, waits := make(chan answer, 1), make(chan answer, 1)
	ask := func(to chan answer) {
		v, err := k.run(ctx, call("x"))
		to <- answer{v, err}
	}
	wg.Go(func() { ask(out) })
	<-g.reached
	called(t, k, &wg, 0, roundTrips-1)
	for range roundTrips - 1 {
		<-g.reached
	}
	wg.Go(func() { ask(waits) })
	k.queued(t, 1)
	cancel()
	if a := <-waits; !errors.Is(a.err, context.Canceled) {
		t.Errorf("the one in line: %v", a)
	}
	k.queued(t, 0)
	// While the places are taken, a call with a deadline gets through.
	timed, end := context.WithTimeout(t.Context(), 10*time.Second)
	defer end()
	if v, err := k.run(timed, call("y")); err != nil || reply(v).text(1) != "y" {
		t.Errorf("with a deadline: %v, %v", v, err)
	}
	close(g.opened)
	wg.Wait()
	<-out // what it says is the client's: it may have looked at its context before it sent
}

// When the server goes away, everybody in the part learns that the call should be
// repeated, and nobody takes silence for an answer.
func TestABrokenRoundTripIsEverybodys(t *testing.T) {
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	l, err := Open(t.Context(), Config{URL: "redis://" + m.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	m.Close()
	part := make([]*request, 5)
	for i := range part {
		part[i] = inLine(call(i))
	}
	l.link.exchange(part)
	for i, r := range part {
		<-r.done
		if err := r.err; !errors.Is(classify(err), ErrUnavailable) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

func TestLargeCallsGoInPartsOfTheirOwn(t *testing.T) {
	k := &link{}
	large := make([]byte, mostBytes)
	for _, a := range []any{"small", large, "small", string(large), "small"} {
		k.line = append(k.line, &request{args: []any{a}})
	}
	k.out = 1
	var sizes []int
	for part := k.take(); part != nil; part = k.take() {
		sizes = append(sizes, len(part))
	}
	if fmt.Sprint(sizes) != "[2 2 1]" || k.out != 0 {
		t.Errorf("parts of %v; %d places are taken", sizes, k.out)
	}
}
