package recorder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/worker/node"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a recorder until stop is called; stop returns Serve's error.
func start(t *testing.T, dir string) (socket string, stop func() error) {
	t.Helper()
	socket = filepath.Join(dir, "socket")
	_ = os.Remove(socket)
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, filepath.Join(dir, "log")) }()
	return socket, func() error { cancel(); return <-done }
}

func TestLinesAreNumberedAndKept(t *testing.T) {
	dir := t.TempDir()
	const writers, each = 8, 40
	for round := range 2 { // the second continues the file
		socket, stop := start(t, dir)
		c := NewClient(socket)
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				for i := range each {
					if err := c.Record(t.Context(), Line{Event: Start, Flow: "f", Cycle: int64(round*each + i), Node: ids.NodeID(fmt.Sprint(w))}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
	lines, err := Read(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != 2*writers*each {
		t.Errorf("%d lines, want %d", len(lines), 2*writers*each)
	}
	next := map[ids.NodeID]int64{}
	for i, l := range lines {
		if l.Seq != int64(i+1) || l.Cycle != next[l.Node] || l.At == 0 {
			t.Fatalf("line %d: %+v; %d comes next of its writer", i+1, l, next[l.Node])
		}
		next[l.Node]++
	}
}

// A recorder that can't write answers nothing, and the node may not run.
func TestWhatIsNotWrittenIsNotAnswered(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "socket")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/full", filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- write(t.Context(), full(t, filepath.Join(dir, "log")), 0, relay(t, l)) }()
	c := NewClient(socket)
	h := &Handler{Client: c}
	if _, err := h.Run(t.Context(), &node.Input{Flow: "f", Node: "n", Attempt: 1}); err == nil {
		t.Error("a node ran without its line")
	}
	if err := <-done; err == nil {
		t.Error("a full disk is no error")
	}
	_ = l.Close()
}

func full(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// relay serves one connection.
func relay(t *testing.T, l net.Listener) <-chan request {
	t.Helper()
	out := make(chan request)
	go func() {
		if conn, err := l.Accept(); err == nil {
			serve(t.Context(), conn, out)
		}
	}()
	return out
}

func TestHandler(t *testing.T) {
	dir := t.TempDir()
	socket, stop := start(t, dir)
	c := NewClient(socket)
	h := &Handler{Client: c, Worker: "w"}
	input := func(parameters string) *node.Input {
		return &node.Input{Flow: "f", Cycle: 7, Node: "n", Attempt: 2, Slot: time.UnixMilli(1234), IntentID: uuid.Max, Parameters: json.RawMessage(parameters)}
	}
	if _, err := h.Run(t.Context(), input(`{"min_ms": 1, "max_ms": 3}`)); err != nil {
		t.Error(err)
	}
	if _, err := h.Run(t.Context(), input(`{"fail_percent": 100}`)); err == nil || node.IsPermanent(err) {
		t.Errorf("a failing attempt ends with %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := h.Run(ctx, input(`{"min_ms": 60000}`)); err == nil {
		t.Error("an attempt whose context ended says that its work is done")
	}
	if _, err := h.Run(t.Context(), input(`{"min": 1}`)); !node.IsPermanent(err) {
		t.Errorf("a misspelt parameter gives %v", err)
	}
	_ = c.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
	lines, err := Read(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"start ", "end ok", "start ", "end failed", "start ", "end abandoned"}
	for i, l := range lines {
		if i >= len(want) || l.Event+" "+l.Result != want[i] || l.Slot != 1234 || l.Worker != "w" || l.Intent != uuid.Max || l.Cycle != 7 || l.Attempt != 2 {
			t.Errorf("line %d: %+v", i, l)
		}
	}
	if len(lines) != len(want) {
		t.Errorf("%d lines, want %d", len(lines), len(want))
	}
}

// A torn last line was never answered.
func TestTornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(`{"seq":1,"event":"start"}`+"\n"+`{"seq":2,"ev`), 0o644); err != nil {
		t.Fatal(err)
	}
	lines, err := Read(path)
	if err != nil || len(lines) != 1 {
		t.Errorf("%d lines, %v", len(lines), err)
	}
	socket, stop := start(t, filepath.Dir(path))
	c := NewClient(socket)
	if err := errors.Join(c.Record(t.Context(), Line{Event: End}), c.Close(), stop()); err != nil {
		t.Error(err)
	}
	if lines, err = Read(path); err != nil || len(lines) != 2 || lines[1].Seq != 2 {
		t.Errorf("continued: %+v, %v", lines, err)
	}
	if err := os.WriteFile(path, []byte("nonsense\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil {
		t.Error("nonsense is read")
	}
}
