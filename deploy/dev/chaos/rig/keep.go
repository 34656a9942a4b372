package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Keep writes down what a reader of a failed run needs beside the logs: the
// journal, the ledger, and what the servers said.
func (c *Cluster) Keep(ctx context.Context) (err error) {
	f, err := os.Create(c.path("journal.jsonl"))
	if err != nil {
		return fmt.Errorf("keep evidence: %w", err)
	}
	out := json.NewEncoder(f)
	var faults []error
	for _, r := range c.Reread(ctx) {
		faults = append(faults, out.Encode(r))
	}
	faults = append(faults, f.Close(), c.dump(ctx))
	logs, err := filepath.Glob(filepath.Join(c.Servers.Folder(), "*", "out"))
	faults = append(faults, err)
	for _, l := range logs {
		faults = append(faults, copyFile(l, c.path("server-"+filepath.Base(filepath.Dir(l))+".log")))
	}
	return errors.Join(faults...)
}

func (c *Cluster) dump(ctx context.Context) error {
	keys, err := c.Ledger.Dump(ctx)
	if err != nil {
		return fmt.Errorf("keep evidence: %w", err)
	}
	f, err := os.Create(c.path("ledger.txt"))
	if err != nil {
		return fmt.Errorf("keep evidence: %w", err)
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if k == c.Prefix+":journal" {
			continue
		}
		if _, err := fmt.Fprintf(f, "%s\n%s\n\n", k, keys[k]); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("keep evidence: %w", err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("keep evidence: %w", err)
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
