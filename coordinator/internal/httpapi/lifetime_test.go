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

// dial connects to a server within a bubble.
func dial(t *testing.T, l *httpapitest.Pipes) net.Conn {
	t.Helper()
	conn, err := l.Dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// pass lets time pass in a bubble.
func pass(d time.Duration) { <-time.After(d) }

const head = "POST /api/v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"

func chunk(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

// A client that goes away after its last line is noticed too.
func TestRunsOfAClientThatIsGoneAfterItsLastLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := httpapitest.New()
		begin := time.Now()
		var left time.Duration
		s.OnRunCycle = func(ctx context.Context, _ ids.FlowID, _ string, wait time.Duration) (api.CycleSummary, error) {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			left = time.Since(begin)
			return api.CycleSummary{}, ctx.Err()
		}
		l := httpapitest.NewPipes()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- httpapi.Serve(ctx, l, httpapitest.Handler(s), hclog.NewNullLogger(), time.Minute) }()
		conn := dial(t, l)
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		_, _ = io.WriteString(conn, head+chunk(`{"id": 1, "flow_id": "btc", "wait_seconds": 60}`+"\n")+"0\r\n\r\n")
		synctest.Wait()
		_ = conn.Close() // curl is interrupted
		pass(61 * time.Second)
		synctest.Wait()
		if left > time.Second {
			t.Errorf("the run of a client that went away at once was given up after %s", left)
		}
		stop()
		<-ended
	})
}

// What the server cuts when it stops does not go on.
func TestRunsThatAreCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := httpapitest.New()
		begin := time.Now()
		var left atomic.Int64
		s.OnRunCycle = func(ctx context.Context, _ ids.FlowID, _ string, wait time.Duration) (api.CycleSummary, error) {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			left.Store(int64(time.Since(begin)))
			return api.CycleSummary{}, ctx.Err()
		}
		l := httpapitest.NewPipes()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- httpapi.Serve(ctx, l, httpapitest.Handler(s), hclog.NewNullLogger(), 5*time.Second) }()
		conn := dial(t, l)
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		_, _ = io.WriteString(conn, head+chunk(`{"id": 1, "flow_id": "btc", "wait_seconds": 60}`+"\n"))
		synctest.Wait()
		stop()
		<-ended
		synctest.Wait()
		if left.Load() == 0 {
			pass(time.Minute)
			synctest.Wait()
			t.Errorf("a run went on until %s, and Serve had cut the connection and returned after 5s", time.Duration(left.Load()))
		}
		_ = conn.Close()
	})
}

// From a client that takes in nothing no more lines are read.
func TestRunsOfAClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := httpapitest.New()
		var runs atomic.Int64
		s.OnRunCycle = func(ctx context.Context, _ ids.FlowID, _ string, _ time.Duration) (api.CycleSummary, error) {
			runs.Add(1)
			return api.CycleSummary{}, ctx.Err()
		}
		l := httpapitest.NewPipes()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- httpapi.Serve(ctx, l, httpapitest.Handler(s), hclog.NewNullLogger(), 5*time.Second) }()
		conn := dial(t, l)
		_, _ = io.WriteString(conn, head)
		_, _ = bufio.NewReader(io.LimitReader(conn, 1)).ReadByte() // the beginning of the answer, and no more
		read := bufio.NewReader(conn)
		for line, _ := read.ReadString('\n'); strings.TrimSpace(line) != ""; line, _ = read.ReadString('\n') {
		}
		// It writes a line each minute, and never reads.
		var failed error
		lines := 0
		for ; lines < 60 && failed == nil; lines++ {
			_, failed = io.WriteString(conn, chunk(fmt.Sprintf(`{"id": %d, "flow_id": "btc", "wait_seconds": 1}`+"\n", lines)))
			pass(time.Minute)
		}
		if failed == nil {
			t.Errorf("%d lines were read over an hour from a client that takes in nothing, for %d calls of the service", lines, runs.Load())
		}
		_ = conn.Close()
		stop()
		<-ended
	})
}

// Each line gives a stream two minutes more, also where a part of the next is there already.
func TestRunsGoOnWithPartsOfLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := httpapitest.New()
		var runs atomic.Int64
		s.OnRunCycle = func(ctx context.Context, _ ids.FlowID, _ string, _ time.Duration) (api.CycleSummary, error) {
			runs.Add(1)
			return api.CycleSummary{}, ctx.Err()
		}
		l := httpapitest.NewPipes()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- httpapi.Serve(ctx, l, httpapitest.Handler(s), hclog.NewNullLogger(), 5*time.Second) }()
		conn := dial(t, l)
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		_, _ = io.WriteString(conn, head)
		const line = `{"id": 1, "flow_id": "btc", "wait_seconds": 1}` + "\n"
		_, _ = io.WriteString(conn, chunk(line[:10]))
		for range 60 { // every 10 s the rest of a line and the beginning of the next
			_, _ = io.WriteString(conn, chunk(line[10:]+line[:10]))
			pass(10 * time.Second)
		}
		if n := runs.Load(); n != 60 {
			t.Errorf("%d of 60 lines were read, of a stream with a line every 10s", n)
		}
		_ = conn.Close()
		stop()
		<-ended
	})
}

// So does each line that waits until there is room for it.
func TestRunsGoOnUnderABacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := httpapitest.New()
		var runs atomic.Int64
		s.OnRunCycle = func(ctx context.Context, _ ids.FlowID, _ string, wait time.Duration) (api.CycleSummary, error) {
			runs.Add(1)
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			return api.CycleSummary{}, ctx.Err()
		}
		l := httpapitest.NewPipes()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- httpapi.Serve(ctx, l, httpapitest.Handler(s), hclog.NewNullLogger(), 5*time.Second) }()
		conn := dial(t, l)
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		const all = 6000
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
		_ = conn.Close()
		stop()
		<-ended
	})
}

// Nobody waits for the end of a line that is too long.
func TestALineThatIsTooLongHoldsUpNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := httpapitest.NewPipes()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- httpapi.Serve(ctx, l, httpapitest.Handler(httpapitest.New()), hclog.NewNullLogger(), 50*time.Second)
		}()
		conn := dial(t, l)
		got := make(chan string, 1)
		go func() {
			r := bufio.NewReader(conn)
			for line, err := r.ReadString('\n'); err == nil; line, err = r.ReadString('\n') {
				if line == "0\r\n" {
					got <- "the end of the answer"
				}
			}
		}()
		_, _ = io.WriteString(conn, head+chunk(strings.Repeat("x", 5000)))
		<-got
		begin := time.Now()
		stop()
		err := <-ended
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("Serve ended after %s (%v), though the stream's answer was over", took, err)
		}
		_ = conn.Close()
	})
}

// What comes after the end of a stream is no request.
func TestTheRestOfAStreamIsNoRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := httpapitest.New()
		l := httpapitest.NewPipes()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- httpapi.Serve(ctx, l, httpapitest.Handler(s), hclog.NewNullLogger(), 5*time.Second) }()
		conn := dial(t, l)
		var mu sync.Mutex
		var heard strings.Builder
		go func() {
			b := make([]byte, 4096)
			for {
				n, err := conn.Read(b)
				mu.Lock()
				heard.Write(b[:n])
				mu.Unlock()
				if err != nil {
					return
				}
			}
		}()
		rest := "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
		_, _ = io.WriteString(conn, head+fmt.Sprintf("%x\r\n", len(rest))) // a chunk that is announced
		pass(2*time.Minute + time.Second)
		_, _ = io.WriteString(conn, rest+"\r\n0\r\n\r\n")
		synctest.Wait()
		mu.Lock()
		if n := strings.Count(heard.String(), "HTTP/1.1 "); n != 1 {
			t.Errorf("%d answers to one request:\n%s", n, heard.String())
		}
		mu.Unlock()
		_ = conn.Close()
		stop()
		<-ended
	})
}

// A call that waits for the end of a cycle is not cut before by the times that other calls have.
func TestACallWaitsAsLongAsItAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := httpapitest.New()
		s.OnRunCycle = func(ctx context.Context, _ ids.FlowID, _ string, wait time.Duration) (api.CycleSummary, error) {
			select {
			case <-ctx.Done():
				return api.CycleSummary{}, ctx.Err()
			case <-time.After(wait):
				return api.CycleSummary{Cycle: 7, Status: api.CycleRunning}, nil
			}
		}
		l := httpapitest.NewPipes()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- httpapi.Serve(ctx, l, httpapitest.Handler(s), hclog.NewNullLogger(), time.Minute) }()
		conn := dial(t, l)
		_, _ = io.WriteString(conn, "POST /api/v1/flows/btc/cycles?wait_seconds=59 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		if status, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(status, "201") {
			t.Errorf("answered %q, %v", status, err)
		}
		_ = conn.Close()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
