package drill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// Command is a Target that runs commands of the user by /bin/sh. {leader} and
// {worker} in them stand for the ids of the processes to hit, {server} for the
// server, {from} and {to} for the parts between which a link is hit.
type Command struct {
	inject, heal string
}

// NewCommand returns a Target of these commands; an empty heal does nothing, as
// fits processes that something else brings back.
func NewCommand(inject, heal string) (*Command, error) {
	if strings.TrimSpace(inject) == "" {
		return nil, errors.New("inject command: it is empty; give one, as 'kubectl delete pod {leader}'")
	}
	return &Command{inject: inject, heal: heal}, nil
}

// Inject runs the inject command. The fault counts from the command's start,
// and its proof is left to the API.
func (c *Command) Inject(ctx context.Context, _ Fault, n Names) (Evidence, error) {
	at := time.Now()
	if err := shell(ctx, c.inject, n); err != nil {
		return Evidence{}, fmt.Errorf("inject command: %w", err)
	}
	return Evidence{At: at}, nil
}

// Heal runs the heal command, if there is one.
func (c *Command) Heal(ctx context.Context, _ Fault, n Names) error {
	if strings.TrimSpace(c.heal) == "" {
		return nil
	}
	if err := shell(ctx, c.heal, n); err != nil {
		return fmt.Errorf("heal command: %w", err)
	}
	return nil
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]*$`)

// substitute puts names into a command. A name that a shell could read as
// anything but one word is refused: it comes from the cluster, not from the user.
func substitute(command string, n Names) (string, error) {
	for _, p := range []struct{ mark, name string }{{"{leader}", n.Leader}, {"{worker}", n.Worker}, {"{server}", n.Server},
		{"{from}", n.Between[0]}, {"{to}", n.Between[1]}} {
		if !strings.Contains(command, p.mark) {
			continue
		}
		if !plainName.MatchString(p.name) {
			return "", fmt.Errorf("%s is %q here, which does not fit into a command", p.mark, p.name)
		}
		command = strings.ReplaceAll(command, p.mark, p.name)
	}
	return command, nil
}

func shell(ctx context.Context, command string, n Names) error {
	text, err := substitute(command, n)
	if err != nil {
		return err
	}
	return execute(exec.CommandContext(ctx, "/bin/sh", "-c", text))
}

// execute runs a command and puts the end of what it printed into its error.
func execute(cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // what it left behind may hold the pipe open
	err := cmd.Run()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	const show = 300
	text := strings.TrimSpace(out.String())
	if len(text) > show {
		text = "…" + strings.ToValidUTF8(text[len(text)-show:], "")
	}
	if text == "" {
		return fmt.Errorf("run %s: %w", cmd.Args[0], err)
	}
	return fmt.Errorf("run %s: %w: %s", cmd.Args[0], err, text)
}
