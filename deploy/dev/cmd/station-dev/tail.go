package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// tail finds the lines that are appended to the orders files of a folder.
type tail struct {
	pattern string
	offsets map[string]int64 // by file: up to where its lines were given
}

// newTail passes over what the files hold already.
func newTail(dir string) (*tail, error) {
	t := &tail{pattern: filepath.Join(dir, "orders*.jsonl"), offsets: map[string]int64{}}
	files, err := filepath.Glob(t.pattern)
	if err != nil {
		return nil, fmt.Errorf("look for orders in %s: %w", dir, err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return nil, fmt.Errorf("look at orders: %w", err)
		}
		t.offsets[f] = info.Size()
	}
	return t, nil
}

// more returns the whole lines that came since. A file that can't be read now is
// read the next time.
func (t *tail) more() [][]byte {
	files, err := filepath.Glob(t.pattern)
	if err != nil {
		return nil // newTail has shown that the pattern is good
	}
	var out [][]byte
	for _, f := range files {
		text := t.read(f)
		whole := text[:bytes.LastIndexByte(text, '\n')+1]
		t.offsets[f] += int64(len(whole))
		for l := range bytes.Lines(whole) {
			out = append(out, bytes.TrimSpace(l))
		}
	}
	return out
}

func (t *tail) read(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	if info.Size() < t.offsets[path] {
		t.offsets[path] = 0 // it was begun anew
	}
	text, err := io.ReadAll(io.NewSectionReader(f, t.offsets[path], info.Size()-t.offsets[path]))
	if err != nil {
		return nil
	}
	return text
}
