//go:build unix

package builtin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tradingflow/weather-station/worker/node"
)

const (
	maxStdout  = 1 << 20
	stderrTail = 2 << 10
	// How long to wait for the pipes of a program that has ended but left them
	// to a child that escaped its group.
	pipeGrace = 2 * time.Second
)

// execNode runs a program. Parameters: command (program and arguments; no
// shell reads them), env, timeout. The inputs are on its standard input as one
// JSON object; its standard output must be one JSON object, whose keys become
// the output handles. Its environment is PATH, the STATION_ variables that name
// the attempt, and env. It works in the folder exec of the data directory, in a
// process group of its own, which is killed when the program or the attempt
// ends.
//
// A program that cannot be started and an output that is not an object are
// permanent errors; a failing exit status is left to the retry policy.
type execNode struct{ dataDir string }

type execParameters struct {
	common
	Command []string          `json:"command"`
	Env     map[string]string `json:"env"`
	Timeout span              `json:"timeout"`
}

func (e *execNode) Run(ctx context.Context, in *node.Input) (node.Result, error) {
	var p execParameters
	if err := bind(in, &p); err != nil {
		return node.Result{}, err
	}
	if err := p.check(); err != nil {
		return node.Result{}, node.Permanent(fmt.Errorf("exec: %w", err))
	}
	if e.dataDir == "" {
		return node.Result{}, permanentf("exec: this worker has no data directory: start it with one")
	}
	if p.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(p.Timeout))
		defer cancel()
	}
	out, err := e.run(ctx, &p, in)
	if err != nil {
		return node.Result{}, fmt.Errorf("exec %s: %w", p.Command[0], err)
	}
	return node.Outputs(out), nil
}

func (p *execParameters) check() error {
	var faults []error
	if len(p.Command) == 0 || p.Command[0] == "" {
		faults = append(faults, errors.New(`the parameter "command" is missing: a list of the program and its arguments`))
	}
	for _, a := range p.Command {
		if strings.ContainsRune(a, 0) {
			faults = append(faults, fmt.Errorf("command: argument %q holds a zero byte", a))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(p.Env[name], 0) {
			faults = append(faults, fmt.Errorf("env: %q is no variable", name))
		}
	}
	return errors.Join(faults...)
}

func (e *execNode) run(ctx context.Context, p *execParameters, in *node.Input) (map[string]any, error) {
	dir, err := filepath.Abs(filepath.Join(e.dataDir, "exec"))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	values := in.Values
	if values == nil {
		values = map[string]json.RawMessage{}
	}
	stdin, err := json.Marshal(values)
	if err != nil {
		return nil, node.Permanent(err)
	}
	stdout, stderr := &capped{limit: maxStdout}, &tail{limit: stderrTail}
	cmd := exec.CommandContext(ctx, p.Command[0], p.Command[1:]...)
	cmd.Dir, cmd.Env = dir, environment(p.Env, in)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd) }
	cmd.WaitDelay = pipeGrace
	if err := cmd.Start(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, node.Permanent(err)
	}
	err = cmd.Wait()
	_ = killGroup(cmd) // what the program left behind; mostly nothing
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("killed: %w%s", ctx.Err(), stderr)
	case stdout.over:
		return nil, permanentf("its output is longer than %d bytes%s", maxStdout, stderr)
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return nil, fmt.Errorf("%w%s", err, stderr)
	}
	var out map[string]json.RawMessage
	if err := json.Unmarshal(stdout.buf.Bytes(), &out); err != nil || out == nil {
		return nil, permanentf("its output must be one JSON object, is %q%s", clipText(stdout.buf.String(), 200), stderr)
	}
	handles := make(map[string]any, len(out))
	for h, v := range out {
		handles[h] = v
	}
	return handles, nil
}

func environment(own map[string]string, in *node.Input) []string {
	all := map[string]string{
		"PATH":              os.Getenv("PATH"),
		"STATION_FLOW":      string(in.Flow),
		"STATION_NODE":      string(in.Node),
		"STATION_CYCLE":     strconv.FormatInt(in.Cycle, 10),
		"STATION_ATTEMPT":   strconv.Itoa(in.Attempt),
		"STATION_SLOT":      in.Slot.UTC().Format(time.RFC3339Nano),
		"STATION_INTENT_ID": in.IntentID.String(),
	}
	maps.Copy(all, own)
	out := make([]string, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, name+"="+all[name])
	}
	return out
}

// killGroup kills the program and all that it started and that stayed in its
// group.
func killGroup(cmd *exec.Cmd) error {
	err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// capped keeps what is written up to a limit and then refuses, which breaks the
// writer's pipe.
type capped struct {
	buf   bytes.Buffer
	limit int
	over  bool
}

func (c *capped) Write(b []byte) (int, error) {
	if c.buf.Len()+len(b) > c.limit {
		c.over = true
		return 0, errors.New("too much output")
	}
	return c.buf.Write(b)
}

// tail keeps the end of what is written.
type tail struct {
	buf   []byte
	limit int
}

func (t *tail) Write(b []byte) (int, error) {
	t.buf = append(t.buf, b...)
	if len(t.buf) > t.limit {
		t.buf = slices.Clone(t.buf[len(t.buf)-t.limit:])
	}
	return len(b), nil
}

func (t *tail) String() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(t.buf), "\ufffd"))
	if text == "" {
		return ""
	}
	return ": stderr: " + text
}
