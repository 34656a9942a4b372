package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/coordinator/api"
)

const (
	maxAnswerLine = 1 << 20          // bytes
	maxKey        = 128              // bytes
	opensWithin   = 5 * time.Second  // a stream does, or counts as broken: one that breaks before is not noticed while there is more to send
	overdue       = 30 * time.Second // after the wait that was asked for, until a stream counts as broken
)

// How a stream ends that this side ends.
var (
	errClosed = errors.New("runs are closed")
	errLeft   = errors.New("the coordinator was left for the next") // and nothing waits for it any more
)

// Runs runs many cycles over one connection. Its RunCycle means what a Client's does, and costs client and coordinator
// a fraction of it where many wait at the same time: lines that wait are sent together, and so are answers.
// When the connection breaks, what has no answer is asked again with its key, at the next coordinator. The
// connection is made by the first call that needs it. Runs is safe for use by several goroutines.
type Runs struct {
	client  *Client
	http    *http.Client
	ctx     context.Context // ends with Close
	end     context.CancelCauseFunc
	streams sync.WaitGroup

	mu   sync.Mutex
	last *runStream // the one that is used; nil: none is
}

// Runs returns a way to run cycles over one connection. Close it.
func (c *Client) Runs() *Runs {
	r := &Runs{client: c, http: new(*c.http)}
	r.http.Timeout = 0 // it would end the stream, however well it goes
	r.ctx, r.end = context.WithCancelCause(context.Background())
	return r
}

// Close ends the connection. Calls that wait end with an error; their cycles go on.
func (r *Runs) Close() {
	r.mu.Lock() // no stream begins meanwhile
	r.end(errClosed)
	r.mu.Unlock()
	r.streams.Wait()
}

// RunCycle starts a cycle of a flow and answers when it has ended, or with the cycle as it stands when it has not ended
// within wait, at most a minute; as soon as it has started when wait is 0. The same key for the same flow gives the same cycle
// again; "" = a key of this call alone. Errors are as those of a Client's.
func (r *Runs) RunCycle(ctx context.Context, flow, key string, wait time.Duration) (api.CycleSummary, error) {
	if _, err := flowPath(flow); err != nil {
		return api.CycleSummary{}, err
	}
	if key == "" {
		key = uuid.NewString()
	}
	if len(key) > maxKey { // a line that is too long would end the stream for all
		return api.CycleSummary{}, fmt.Errorf("run cycle of %s: its key has %d bytes; want %d at most", flow, len(key), maxKey)
	}
	q := api.Run{FlowID: flow, Key: key, WaitSeconds: wait.Seconds()}
	var tried []string
	var failed error
	again := true // once: a stream may end just as it is used
	for len(tried) < len(r.client.bases) {
		st, err := r.stream()
		if err != nil {
			return api.CycleSummary{}, fmt.Errorf("run cycle of %s: %w", flow, err)
		}
		out, err := st.ask(ctx, q, wait)
		var problem *Problem
		switch {
		case err == nil, errors.As(err, &problem) && problem.Status != http.StatusServiceUnavailable:
			return out, err
		case ctx.Err() != nil:
			return out, fmt.Errorf("run cycle of %s: %w", flow, context.Cause(ctx))
		}
		r.leave(st)
		switch {
		case errors.Is(err, errLeft): // it was not asked
		case problem == nil && again:
			again = false
		default:
			tried, failed = append(tried, st.base), err
		}
	}
	var problem *Problem
	if errors.As(failed, &problem) {
		return api.CycleSummary{}, problem
	}
	return api.CycleSummary{}, &Unreachable{Tried: tried, Cause: failed}
}

// stream returns the stream that is used, and begins one when there is none.
func (r *Runs) stream() (*runStream, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return nil, context.Cause(r.ctx)
	}
	if r.last == nil || r.last.over() {
		st := &runStream{base: r.client.bases[int(r.client.preferred.Load())], lines: make(chan []byte, 256), ended: make(chan struct{}), waiting: map[int64]chan api.RunAnswer{}}
		st.ctx, st.cancel = context.WithCancelCause(r.ctx)
		st.leave = func() { r.leave(st) }
		r.last = st
		r.streams.Go(func() { st.serve(r.http, r.client.userAgent) })
	}
	return r.last, nil
}

// leave has the next stream be of another coordinator. Runs that wait for answers of this one go on, and it ends after them.
func (r *Runs) leave(st *runStream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == st && r.ctx.Err() == nil {
		r.last = nil
		st.mu.Lock()
		st.left = true
		if len(st.waiting) == 0 {
			st.cancel(errLeft)
		}
		st.mu.Unlock()
		n := int32(len(r.client.bases))
		if was := r.client.preferred.Load(); r.client.bases[was] == st.base {
			r.client.preferred.CompareAndSwap(was, (was+1)%n)
		}
	}
}

// runStream is one connection.
type runStream struct {
	base   string
	ctx    context.Context
	cancel context.CancelCauseFunc
	leave  func()
	lines  chan []byte   // to be sent
	ended  chan struct{} // closed when the stream has ended; err says why
	err    error

	mu      sync.Mutex
	asked   int64
	left    bool      // no more are asked here
	heard   time.Time // when the last answer came
	waiting map[int64]chan api.RunAnswer
}

// over reports whether the stream has ended.
func (st *runStream) over() bool {
	select {
	case <-st.ended:
		return true
	default:
		return false
	}
}

// ask sends a run and waits for its answer.
func (st *runStream) ask(ctx context.Context, q api.Run, wait time.Duration) (api.CycleSummary, error) {
	answered := make(chan api.RunAnswer, 1)
	st.mu.Lock()
	st.asked++
	q.ID = st.asked
	st.waiting[q.ID] = answered
	st.mu.Unlock()
	defer func() {
		st.mu.Lock()
		delete(st.waiting, q.ID)
		if st.left && len(st.waiting) == 0 {
			st.cancel(errLeft)
		}
		st.mu.Unlock()
	}()
	line, err := json.Marshal(q)
	if err != nil {
		return api.CycleSummary{}, fmt.Errorf("encode run: %w", err)
	}
	line = append(line, '\n')
	due, asked := min(max(wait, 0), time.Minute)+overdue, time.Now()
	late := time.NewTimer(due)
	defer late.Stop()
	lines := st.lines
	for {
		select {
		case lines <- line:
			lines = nil
		case a := <-answered:
			return cycleOf(a)
		case <-st.ended:
			select {
			case a := <-answered: // it came before the end
				return cycleOf(a)
			default:
				return api.CycleSummary{}, st.err
			}
		case <-late.C:
			st.mu.Lock()
			silent := time.Since(st.heard)
			st.mu.Unlock()
			if silent = min(silent, time.Since(asked)); silent < due { // others are answered: it waits for its turn
				late.Reset(due - silent)
				continue
			}
			st.cancel(fmt.Errorf("no answer %s after it was due", overdue))
			late.Reset(overdue) // the stream is about to end
		case <-ctx.Done():
			return api.CycleSummary{}, ctx.Err()
		}
	}
}

func cycleOf(a api.RunAnswer) (api.CycleSummary, error) {
	switch {
	case a.Problem != nil:
		p := ofAPI(*a.Problem)
		p.RetryAfter = time.Duration(a.RetryAfterSeconds * float64(time.Second))
		return api.CycleSummary{}, p
	case a.Cycle == nil:
		return api.CycleSummary{}, &Problem{Status: http.StatusOK, Detail: "the answer is not what the API gives: it has no cycle and no problem"}
	}
	return *a.Cycle, nil
}

// serve opens the stream, sends what is asked, and hands out the answers until it ends.
func (st *runStream) serve(hc *http.Client, userAgent string) {
	body, sent := io.Pipe()
	var sender sync.WaitGroup
	sender.Go(func() { _ = sent.CloseWithError(st.send(sent)) })
	err := st.receive(hc, userAgent, body)
	if cause := context.Cause(st.ctx); cause != nil {
		err = cause
	}
	st.err = err
	st.cancel(err)
	_ = body.CloseWithError(err)
	sender.Wait()
	close(st.ended)
}

// send writes the lines: all that wait go together.
func (st *runStream) send(w io.Writer) error {
	var b bytes.Buffer
	for {
		b.Reset()
		select {
		case line := <-st.lines:
			b.Write(line)
		case <-st.ctx.Done():
			return context.Cause(st.ctx)
		}
		for more := true; more && b.Len() < 16<<10; {
			select {
			case line := <-st.lines:
				b.Write(line)
			default:
				more = false
			}
		}
		if _, err := w.Write(b.Bytes()); err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
}

// receive makes the call and hands out its answers. It returns why there are no more.
func (st *runStream) receive(hc *http.Client, userAgent string, body io.Reader) error {
	req, err := http.NewRequestWithContext(st.ctx, http.MethodPost, st.base+base+"/runs", body)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", api.LinesType)
	req.Header.Set("Accept", api.LinesType)
	req.Header.Set("User-Agent", userAgent)
	late := time.AfterFunc(opensWithin, func() { st.cancel(fmt.Errorf("the stream is not open after %s", opensWithin)) })
	resp, err := hc.Do(req)
	late.Stop()
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerLine))
		if err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		return problemOf(resp, b)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 16<<10), maxAnswerLine)
	for lines.Scan() {
		var a api.RunAnswer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			return &Problem{Status: resp.StatusCode, Detail: "the answer is not what the API gives: " + err.Error()}
		}
		if a.Ends {
			st.leave()
			continue
		}
		if a.ID == 0 && a.Problem != nil { // of no run: nobody knows which
			return fmt.Errorf("a line was refused: %s", a.Problem.Detail)
		}
		st.mu.Lock()
		answered := st.waiting[a.ID]
		st.heard = time.Now()
		delete(st.waiting, a.ID)
		st.mu.Unlock()
		if answered != nil { // else nobody waits any more
			answered <- a
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read answers: %w", err)
	}
	return errors.New("the coordinator has ended the stream")
}
