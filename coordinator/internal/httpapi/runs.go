package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"runtime/debug"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/shared/ids"
)

// Bounds of a stream of runs.
const (
	maxRunLine  = 4096             // bytes
	maxOpenRuns = 1024             // that have no answer yet; no more lines are read then
	runsIdle    = 2 * time.Minute  // without a line, until no more are waited for
	runsLate    = time.Second      // for lines that come after the end
	runsStuck   = 30 * time.Second // for a client to take in answers
)

var keyPattern = regexp.MustCompile(`^[!-~]{0,128}$`)

type runsInput struct {
	ContentType string `header:"Content-Type"`
}

func (s *server) runs() {
	op := huma.Operation{OperationID: "run-cycles", Method: http.MethodPost, Path: base + "/runs", Summary: "Run many cycles over one connection", Tags: []string{tagCycles}}
	op.Description = "Each line of the body asks for one cycle and is answered by a line, in the order in which answers are there. Both sides may go on as long as they like: " +
		"a run that can't be started has its problem in its line, and the others go on. The stream ends when the body does and all is answered, " +
		"after two minutes without a line, when the coordinator stops, and at a line that is too long."
	op.Responses = map[string]*huma.Response{"200": response[api.RunAnswer](s.api, http.StatusOK, api.LinesType)}
	register(s, op, s.runCycles, http.StatusUnsupportedMediaType)
	// Described after it is registered: the framework reads a body that it knows of before it calls.
	s.api.OpenAPI().Paths[op.Path].Post.RequestBody = &huma.RequestBody{Required: true, Description: "A line for each run", Content: map[string]*huma.MediaType{
		api.LinesType: {Schema: s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.Run](), true, "")}}}
}

func (s *server) runCycles(_ context.Context, in *runsInput) (*huma.StreamResponse, error) {
	if t, _, err := mime.ParseMediaType(in.ContentType); err != nil || t != api.LinesType {
		return nil, newProblem(http.StatusUnsupportedMediaType, api.CodeUnsupportedType, fmt.Sprintf("media type %q: want %s, a JSON value a line", in.ContentType, api.LinesType))
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		r, w := humago.Unwrap(c)
		s.stream(r, w)
	}}, nil
}

// runStream is a stream of runs while it is served.
type runStream struct {
	server  *server
	ctx     context.Context // ends with the connection
	cut     context.CancelFunc
	rc      *http.ResponseController
	answers chan api.RunAnswer
	open    chan struct{} // holds one for each run without an answer
	calls   sync.WaitGroup
}

// stream serves a stream to its end. The deadlines of other calls are not its own: a line that comes moves the
// one for reading, an answer that goes the one for writing.
func (s *server) stream(r *http.Request, w http.ResponseWriter) {
	ctx, cut := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cut()
	st := &runStream{server: s, ctx: ctx, cut: cut, rc: http.NewResponseController(w), answers: make(chan api.RunAnswer, 64), open: make(chan struct{}, maxOpenRuns)}
	if err := st.rc.EnableFullDuplex(); err != nil {
		newProblem(http.StatusInternalServerError, api.CodeInternal, "the connection can't be read while it is written: use HTTP/1.1").write(w)
		return
	}
	w.Header().Set("Content-Type", api.LinesType)
	w.Header().Set("Connection", "close") // what is left of the body is no request
	w.WriteHeader(http.StatusOK)
	if err := st.rc.Flush(); err != nil {
		return
	}
	var writer sync.WaitGroup
	writer.Go(func() { st.write(w) })
	noMore := func() { _ = st.rc.SetReadDeadline(time.Now()) }
	defer context.AfterFunc(lifetime(r.Context(), cutKey{}), cut)()
	stops, breaks := context.AfterFunc(lifetime(r.Context(), stoppingKey{}), noMore), context.AfterFunc(ctx, noMore)
	whole, err := st.read(r.Body)
	stops()
	breaks()
	switch {
	case err != nil:
		cut() // the client has gone away
	case whole:
		_ = st.rc.SetReadDeadline(time.Time{}) // the server reads on, to notice when the client goes away
		defer context.AfterFunc(lifetime(r.Context(), connectionKey{}), cut)()
	default:
		st.answer(api.RunAnswer{Ends: true})
		_ = st.rc.SetReadDeadline(time.Now().Add(runsLate)) // for what is on its way: a connection that is closed before it is read breaks, and answers with it
	}
	st.calls.Wait()
	close(st.answers)
	writer.Wait()
	_ = st.rc.SetWriteDeadline(time.Now().Add(runsStuck)) // for the end of the answer
}

// read starts what the lines ask for, until there are no more: whole says that the client has no more, an error that the connection
// broke.
func (st *runStream) read(body io.Reader) (whole bool, err error) {
	lines := bufio.NewReaderSize(body, maxRunLine)
	for n := 1; ; n++ {
		if b, _ := lines.Peek(lines.Buffered()); bytes.IndexByte(b, '\n') < 0 { // it is read on
			if err := st.rc.SetReadDeadline(time.Now().Add(runsIdle)); err != nil {
				return false, err
			}
			if st.stops() { // its deadline may have come before this one
				return false, nil
			}
		}
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			st.answer(api.RunAnswer{Problem: lineProblem(n, "", fmt.Sprintf("longer than %d bytes; the stream ends here", maxRunLine))})
			return false, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return false, nil
		case err != nil && !errors.Is(err, io.EOF):
			return false, err
		}
		if trimmed := bytes.TrimSpace(line); len(trimmed) > 0 {
			st.begin(n, trimmed)
		}
		if err != nil {
			return true, nil
		}
	}
}

// stops reports whether no more lines are to be read.
func (st *runStream) stops() bool {
	return st.ctx.Err() != nil || lifetime(st.ctx, stoppingKey{}).Err() != nil
}

// begin starts what a line asks for.
func (st *runStream) begin(n int, line []byte) {
	var q api.Run
	if err := json.Unmarshal(line, &q); err != nil {
		st.answer(api.RunAnswer{ID: q.ID, Problem: lineProblem(n, "", err.Error()+`; want {"id": 1, "flow_id": "…", "key": "…", "wait_seconds": 10}`)})
		return
	}
	flow, faults := checkRun(n, q)
	if len(faults) > 0 {
		p := newProblem(http.StatusBadRequest, api.CodeInvalidRequest, (&Invalid{Faults: faults}).detail(), faults...)
		st.answer(api.RunAnswer{ID: q.ID, Problem: &p.Problem})
		return
	}
	select {
	case st.open <- struct{}{}:
	case <-st.ctx.Done():
		return
	}
	st.calls.Go(func() {
		st.answer(st.run(flow, q))
		<-st.open
	})
}

// run starts a cycle and waits for its end, if that is asked for. A panic ends this run, not the process.
func (st *runStream) run(flow ids.FlowID, q api.Run) (out api.RunAnswer) {
	out.ID = q.ID
	defer func() {
		if cause := recover(); cause != nil {
			st.server.log.Error("run panicked", "flow", flow, "cause", cause, "stack", string(debug.Stack()))
			out = api.RunAnswer{ID: q.ID, Problem: &internalProblem().Problem}
		}
	}()
	var c api.CycleSummary
	var err error
	if q.WaitSeconds > 0 {
		c, err = st.server.service.RunCycle(st.ctx, flow, q.Key, time.Duration(q.WaitSeconds*float64(time.Second)))
	} else {
		c, err = st.server.service.StartCycle(st.ctx, flow, q.Key)
	}
	if err != nil {
		p := st.server.problemOf(st.ctx, "run-cycles", false, err)
		out.Problem, out.RetryAfterSeconds = &p.Problem, p.retryAfter.Seconds()
	} else {
		out.Cycle = &c
	}
	return out
}

// answer hands an answer to the writer, who takes every one until all are given.
func (st *runStream) answer(a api.RunAnswer) { st.answers <- a }

// write writes the answers: all that wait go together.
func (st *runStream) write(w io.Writer) {
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	for a := range st.answers {
		lines.Reset()
		_ = enc.Encode(a) // into memory: of these types nothing fails
		for more := true; more && lines.Len() < 64<<10; {
			select {
			case a, more = <-st.answers:
				if more {
					_ = enc.Encode(a)
				}
			default:
				more = false
			}
		}
		if st.ctx.Err() != nil {
			continue // nobody reads it
		}
		_ = st.rc.SetWriteDeadline(time.Now().Add(runsStuck))
		if _, err := w.Write(lines.Bytes()); err != nil {
			st.cut()
		} else if st.rc.Flush() != nil {
			st.cut()
		}
	}
}

// checkRun names all that is wrong with what line n asks for.
func checkRun(n int, q api.Run) (flow ids.FlowID, faults []api.Fault) {
	flow, err := ids.ParseFlowID(q.FlowID)
	if err != nil {
		faults = append(faults, api.Fault{Code: api.CodeBadID, Place: linePlace(n, "flow_id"), Message: err.Error()})
	}
	if !keyPattern.MatchString(q.Key) {
		faults = append(faults, api.Fault{Code: api.CodeInvalidRequest, Place: linePlace(n, "key"), Message: "want at most 128 printable ASCII characters without spaces"})
	}
	if !(q.WaitSeconds >= 0 && q.WaitSeconds <= maxWait) {
		faults = append(faults, api.Fault{Code: api.CodeInvalidRequest, Place: linePlace(n, "wait_seconds"), Message: fmt.Sprintf("want 0 to %g", maxWait)})
	}
	return flow, faults
}

// lineProblem says what is wrong with a line, or with a field of it.
func lineProblem(n int, field, what string) *api.Problem {
	f := api.Fault{Code: api.CodeInvalidRequest, Place: linePlace(n, field), Message: what}
	return &newProblem(http.StatusBadRequest, api.CodeInvalidRequest, f.String(), f).Problem
}

func linePlace(n int, field string) string {
	place := fmt.Sprintf("line[%d]", n)
	if field != "" {
		place += "." + field
	}
	return place
}
