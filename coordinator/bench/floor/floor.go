package floor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/tradingflow/weather-station/coordinator/bench/shape"
)

// Floor is the two processes.
type Floor struct {
	driver, worker *child
}

// child is one of them.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
	say *json.Encoder
}

// Start starts both processes. command makes the command of one: it has to call
// Serve with this role on its standard input and output.
func Start(ctx context.Context, cfg Config, command func(role string) *exec.Cmd) (*Floor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	driver, err := startChild(ctx, cfg, command(RoleDriver))
	if err != nil {
		return nil, fmt.Errorf("floor's driver: %w", err)
	}
	worker, err := startChild(ctx, cfg, command(RoleWorker))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("floor's worker: %w", err), driver.close())
	}
	return &Floor{driver, worker}, nil
}

func startChild(ctx context.Context, cfg Config, cmd *exec.Cmd) (*child, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	c := &child{cmd: cmd, in: in, out: json.NewDecoder(bufio.NewReader(out)), say: json.NewEncoder(in)}
	if err := c.say.Encode(cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("give settings: %w", err), c.close())
	}
	if _, err := c.answer(ctx); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// answer reads a line of the process.
func (c *child) answer(ctx context.Context) (answer, error) {
	got := make(chan error, 1)
	var a answer
	go func() { got <- c.out.Decode(&a) }()
	select {
	case err := <-got:
		switch {
		case err != nil:
			return a, fmt.Errorf("its process has ended: %w", err)
		case a.Error != "":
			return a, errors.New(a.Error)
		}
		return a, nil
	case <-ctx.Done(): // asked to end, it removes what it has made
		_ = c.cmd.Process.Signal(os.Interrupt)
		force := time.AfterFunc(farewell, func() { _ = c.cmd.Process.Kill() })
		defer force.Stop()
		<-got
		return answer{}, ctx.Err()
	}
}

// farewell is how long a process may take to end.
const farewell = 15 * time.Second

// close ends the process: first by the end of its input, then by force.
func (c *child) close() error {
	_ = c.in.Close()
	force := time.AfterFunc(farewell, func() { _ = c.cmd.Process.Kill() })
	defer force.Stop()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("end of a floor's process: %w", err)
	}
	return nil
}

// Pids are the driver's and the worker's process ids.
func (f *Floor) Pids() (driver, worker int) {
	return f.driver.cmd.Process.Pid, f.worker.cmd.Process.Pid
}

// Run runs a job.
func (f *Floor) Run(ctx context.Context, job shape.Job) (shape.Sample, error) {
	if err := f.driver.say.Encode(job); err != nil {
		return shape.Sample{}, fmt.Errorf("floor's driver: %w", err)
	}
	a, err := f.driver.answer(ctx)
	switch {
	case err != nil:
		return shape.Sample{}, fmt.Errorf("floor's driver: %w", err)
	case a.Sample == nil:
		return shape.Sample{}, errors.New("floor's driver: an answer without a sample")
	}
	return *a.Sample, nil
}

// Close ends both processes, the worker first, as the driver removes what is left
// on the servers.
func (f *Floor) Close() error { return errors.Join(f.worker.close(), f.driver.close()) }
