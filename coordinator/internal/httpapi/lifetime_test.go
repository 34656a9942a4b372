package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi/httpapitest"
	"github.com/tradingflow/weather-station/shared/ids"
)

// inBubble serves s in a bubble, and gives play a connection to it and a way to stop it that waits for its end; when play returns both are ended.
func inBubble(t *testing.T, s *httpapitest.Service, grace time.Duration, play func(conn net.Conn, stop func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := httpapitest.NewPipes()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- httpapi.Serve(ctx, l, httpapitest.Handler(s), hclog.NewNullLogger(), grace) }()
		conn, err := l.Dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		stop := sync.OnceFunc(func() { cancel(); <-ended })
		play(conn, stop)
		_ = conn.Close()
		stop()
	})
}

// patient has runs wait as long as they are asked to, or until they are given up.
func patient(s *httpapitest.Service, left func(ctx context.Context)) {
	s.OnRunCycle = func(ctx context.Context, _ ids.FlowID, _ string, wait time.Duration) (api.CycleSummary, error) {
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		left(ctx)
		return api.CycleSummary{Cycle: 7, Status: api.CycleRunning}, ctx.Err()
	}
}

// pass lets time pass in a bubble.
func pass(d time.Duration) { <-time.After(d) }

const head = "POST /api/v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"

func chunk(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

// A client that goes away after its last line is noticed too.
func TestRunsOfAClientThatIsGoneAfterItsLastLine(t *testing.T) {
	s := httpapitest.New()
	var given atomic.Int64
	patient(s, func(ctx context.Context) {
		if ctx.Err() != nil {
			given.Add(1)
		}
	})
	inBubble(t, s, time.Minute, func(conn net.Conn, _ func()) {
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		_, _ = io.WriteString(conn, head+chunk(`{"id": 1, "flow_id": "btc", "wait_seconds": 60}`+"\n")+"0\r\n\r\n")
		synctest.Wait()
		_ = conn.Close() // as curl that is interrupted
		pass(time.Second)
		if given.Load() != 1 {
			t.Error("the run of a client that went away goes on")
		}
	})
}

// What the server cuts when it stops does not go on.
func TestRunsThatAreCut(t *testing.T) {
	s := httpapitest.New()
	var given atomic.Int64
	patient(s, func(ctx context.Context) {
		if ctx.Err() != nil {
			given.Add(1)
		}
	})
	inBubble(t, s, 5*time.Second, func(conn net.Conn, stop func()) {
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		_, _ = io.WriteString(conn, head+chunk(`{"id": 1, "flow_id": "btc", "wait_seconds": 60}`+"\n"))
		synctest.Wait()
		stop()
		synctest.Wait()
		if given.Load() != 1 {
			t.Error("a run goes on whose connection is cut")
		}
	})
}

// From a client that takes in nothing no more lines are read.
func TestRunsOfAClientThatDoesNotRead(t *testing.T) {
	s := httpapitest.New()
	inBubble(t, s, 5*time.Second, func(conn net.Conn, _ func()) {
		_, _ = io.WriteString(conn, head)
		answer := bufio.NewReader(conn)
		for line := "-"; strings.TrimSpace(line) != ""; line, _ = answer.ReadString('\n') { // the header, and no more
		}
		var failed error
		lines := 0
		for ; lines < 60 && failed == nil; lines++ {
			_, failed = io.WriteString(conn, chunk(`{"id": 1, "flow_id": "btc", "wait_seconds": 1}`+"\n"))
			pass(time.Minute)
		}
		if failed == nil {
			t.Errorf("%d lines were read over an hour from a client that takes in nothing", lines)
		}
	})
}

// Each line gives a stream two minutes more, also where a part of the next is there already.
func TestRunsGoOnWithPartsOfLines(t *testing.T) {
	s := httpapitest.New()
	inBubble(t, s, 5*time.Second, func(conn net.Conn, _ func()) {
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		const line = `{"id": 1, "flow_id": "btc", "wait_seconds": 1}` + "\n"
		_, _ = io.WriteString(conn, head+chunk(line[:10]))
		for range 60 { // the rest of a line and the beginning of the next
			_, _ = io.WriteString(conn, chunk(line[10:]+line[:10]))
			pass(10 * time.Second)
		}
		if n := len(s.Calls()); n != 60 {
			t.Errorf("%d of 60 lines were read, of a stream with a line every 10s", n)
		}
	})
}

// So does each line that waits until there is room for it.
func TestRunsGoOnUnderABacklog(t *testing.T) {
	const all = 6000
	s := httpapitest.New()
	var runs atomic.Int64
	patient(s, func(context.Context) { runs.Add(1) })
	inBubble(t, s, 5*time.Second, func(conn net.Conn, _ func()) {
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		var b strings.Builder
		b.WriteString(head)
		for batch := range all / 100 {
			var lines strings.Builder
			for i := range 100 {
				fmt.Fprintf(&lines, `{"id":%d,"flow_id":"momentum-%d","key":"%036d","wait_seconds":60}`+"\n", batch*100+i+1, i, i)
			}
			b.WriteString(chunk(lines.String()))
		}
		go func() { _, _ = io.WriteString(conn, b.String()) }()
		pass(10 * time.Minute)
		if n := runs.Load(); n != all {
			t.Errorf("%d of %d lines were read", n, all)
		}
	})
}

// Nobody waits for the end of a line that is too long.
func TestALineThatIsTooLongHoldsUpNoEnd(t *testing.T) {
	inBubble(t, httpapitest.New(), 50*time.Second, func(conn net.Conn, stop func()) {
		over := make(chan struct{})
		go func() {
			r := bufio.NewReader(conn)
			for line, err := r.ReadString('\n'); err == nil; line, err = r.ReadString('\n') {
				if line == "0\r\n" { // the last chunk of the answer
					close(over)
				}
			}
		}()
		_, _ = io.WriteString(conn, head+chunk(strings.Repeat("x", 5000)))
		<-over
		begin := time.Now()
		stop()
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("the server ended after %s, though the answer was over", took)
		}
	})
}

// What comes after the end of a stream is no request.
func TestTheRestOfAStreamIsNoRequest(t *testing.T) {
	inBubble(t, httpapitest.New(), 5*time.Second, func(conn net.Conn, _ func()) {
		heard := make(chan string, 1)
		go func() {
			b, _ := io.ReadAll(conn) // until either side closes it
			heard <- string(b)
		}()
		rest := "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
		_, _ = io.WriteString(conn, head+fmt.Sprintf("%x\r\n", len(rest))) // a chunk that is announced
		pass(2*time.Minute + time.Second)
		_, _ = io.WriteString(conn, rest+"\r\n0\r\n\r\n")
		synctest.Wait()
		_ = conn.Close()
		if all := <-heard; strings.Count(all, "HTTP/1.1 ") != 1 {
			t.Errorf("want one answer to one request, got:\n%s", all)
		}
	})
}

// A call that waits for the end of a cycle is not cut before by the times that other calls have.
func TestACallWaitsAsLongAsItAsks(t *testing.T) {
	s := httpapitest.New()
	patient(s, func(context.Context) {})
	inBubble(t, s, time.Minute, func(conn net.Conn, _ func()) {
		_, _ = io.WriteString(conn, "POST /api/v1/flows/btc/cycles?wait_seconds=59 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		if status, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(status, "201") {
			t.Errorf("answered %q, %v", status, err)
		}
	})
}
