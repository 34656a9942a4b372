package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Own is a cluster that was started for one benchmark: real servers, one
// coordinator, one worker.
type Own struct {
	*Cluster
	script string
}

// Settings of an own cluster.
type Settings struct {
	Concurrency int    // nodes that the worker runs at once
	Queue       string // type of its queues
	QueueOnly   bool   // every node goes through the queue
}

func (s Settings) env() []string {
	return []string{"STATION_CONCURRENCY=" + strconv.Itoa(s.Concurrency), "STATION_QUEUE_TYPE=" + s.Queue, "STATION_DIRECT=" + strconv.FormatBool(!s.QueueOnly)}
}

// Start starts a cluster in a folder of its own by scripts/cluster, which is
// script, as s says. An error leaves nothing behind.
func Start(ctx context.Context, script string, s Settings) (_ *Own, err error) {
	dir, err := os.MkdirTemp("", "station-bench.")
	if err != nil {
		return nil, fmt.Errorf("start a cluster: %w", err)
	}
	own := &Own{Cluster: &Cluster{dir}, script: script}
	defer func() {
		if err != nil {
			err = errors.Join(err, own.Close())
		}
	}()
	if err := own.cluster(ctx, s.env(), "up", "--coordinators", "1", "--workers", "1", dir); err != nil {
		return nil, fmt.Errorf("start a cluster: %w", err)
	}
	opened, err := Open(dir)
	if err != nil {
		return nil, err
	}
	own.Cluster = opened
	return own, nil
}

// Close ends the cluster and removes its folder.
func (o *Own) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := o.cluster(ctx, nil, "down", o.dir); err != nil {
		return fmt.Errorf("end the cluster in %s: %w", o.dir, err)
	}
	if err := os.RemoveAll(o.dir); err != nil {
		return fmt.Errorf("remove the cluster's folder: %w", err)
	}
	return nil
}

// cluster runs the script, without the settings of this process: they are of
// another cluster. It is asked to end when ctx does, and only it: an interrupt at
// a terminal does not reach it.
func (o *Own) cluster(ctx context.Context, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, o.script, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "STATION_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	apart(cmd)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return nil
	}
	const show = 500
	text := strings.TrimSpace(out.String())
	if len(text) > show {
		text = "…" + strings.ToValidUTF8(text[len(text)-show:], "")
	}
	return fmt.Errorf("%s %s: %w: %s", o.script, args[0], err, text)
}
