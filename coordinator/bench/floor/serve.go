package floor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tradingflow/weather-station/coordinator/bench/shape"
)

// Roles of the floor's two processes.
const (
	RoleDriver = "driver"
	RoleWorker = "worker"
)

// answer is a line that a process writes: that it is ready, or what a job showed.
type answer struct {
	Ready  bool          `json:"ready,omitempty"`
	Sample *shape.Sample `json:"sample,omitempty"`
	Error  string        `json:"error,omitempty"`
}

// Serve is the whole of one of the floor's processes: it reads its Config from in,
// a line of JSON, says that it is ready, and works until in ends. A driver reads a
// job from each further line and answers it with a sample.
func Serve(ctx context.Context, role string, in io.Reader, out io.Writer) error {
	lines := json.NewDecoder(bufio.NewReader(in))
	say := json.NewEncoder(out)
	var cfg Config
	if err := lines.Decode(&cfg); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	asked := ctx // ends when the process is asked to
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var err error
	switch role {
	case RoleWorker:
		go func() { // ends with in, at the latest when the process ends
			_, _ = io.Copy(io.Discard, in)
			cancel()
		}()
		err = Work(ctx, cfg, func() error { return say.Encode(answer{Ready: true}) })
	case RoleDriver:
		err = drive(ctx, cfg, lines, say)
	default:
		return fmt.Errorf("role %q: want %s or %s", role, RoleDriver, RoleWorker)
	}
	switch {
	case err == nil, asked.Err() != nil && errors.Is(err, context.Canceled):
		return nil
	default:
		return errors.Join(err, say.Encode(answer{Error: err.Error()}))
	}
}

func drive(ctx context.Context, cfg Config, lines *json.Decoder, say *json.Encoder) (err error) {
	d, err := NewDriver(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, d.Close(ctx))
	}()
	if err := say.Encode(answer{Ready: true}); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	for {
		var job shape.Job
		err := lines.Decode(&job)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read job: %w", err)
		}
		s, err := d.Run(ctx, job)
		if err != nil {
			return err
		}
		if err := say.Encode(answer{Sample: &s}); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}
