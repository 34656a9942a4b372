package recorder

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// request is a line that waits to be written.
type request struct {
	line Line
	done chan error // gets one answer
}

// maxBatch bounds the lines that are synced together.
const maxBatch = 256

// Serve writes the lines that come over l to the file at path, until ctx ends. An
// existing file is continued.
func Serve(ctx context.Context, l net.Listener, path string) error {
	before, err := Read(path)
	if err != nil {
		return err
	}
	f, err := open(path)
	if err != nil {
		return fmt.Errorf("recorder: %w", err)
	}
	requests := make(chan request)
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer func() { cancel(); _ = l.Close(); all.Wait() }()
	failed := make(chan error, 1)
	all.Go(func() {
		failed <- errors.Join(write(ctx, f, int64(len(before)), requests), f.Close())
		_ = l.Close()
	})
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for {
		conn, err := l.Accept()
		if err != nil {
			cancel()
			if err := <-failed; err != nil {
				return fmt.Errorf("recorder: %w", err)
			}
			return nil
		}
		all.Go(func() { serve(ctx, conn, requests) })
	}
}

// open opens the file for more lines; a torn last one is taken away.
func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(f)
	if err == nil {
		err = f.Truncate(int64(bytes.LastIndexByte(text, '\n') + 1))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// serve answers the lines of one connection, one after the other.
func serve(ctx context.Context, conn net.Conn, requests chan<- request) {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer func() { _ = conn.Close() }()
	for in := bufio.NewScanner(conn); in.Scan(); {
		q := request{done: make(chan error, 1)}
		if err := json.Unmarshal(in.Bytes(), &q.line); err != nil {
			return
		}
		select {
		case requests <- q:
		case <-ctx.Done():
			return
		}
		if err := <-q.done; err != nil {
			return // no answer: the node may not run
		}
		if _, err := conn.Write([]byte("ok\n")); err != nil {
			return
		}
	}
}

// write numbers, appends and syncs. Every request it took gets an answer.
func write(ctx context.Context, f *os.File, seq int64, requests <-chan request) error {
	for {
		var batch []request
		select {
		case q := <-requests:
			batch = append(batch, q)
		case <-ctx.Done():
			return nil
		}
		for more := true; more && len(batch) < maxBatch; {
			select {
			case q := <-requests:
				batch = append(batch, q)
			default:
				more = false
			}
		}
		var text []byte
		for i := range batch {
			seq++
			batch[i].line.Seq, batch[i].line.At = seq, time.Now().UnixMicro()
			b, err := json.Marshal(batch[i].line)
			if err != nil {
				return errors.Join(err, answer(batch, err))
			}
			text = append(append(text, b...), '\n')
		}
		_, err := f.Write(text)
		if err == nil {
			err = f.Sync()
		}
		if err := answer(batch, err); err != nil {
			return err // what is in the file now is not known
		}
	}
}

func answer(batch []request, err error) error {
	for _, q := range batch {
		q.done <- err
	}
	return err
}
