package drill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Dev is a Target for the cluster of one process that station-dev runs, by its port
// for faults.
type Dev struct {
	base string
	http http.Client
}

// NewDev returns a Target of the station-dev whose faults are served at address, a
// host:port or URL.
func NewDev(address string) *Dev {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	return &Dev{base: strings.TrimSuffix(strings.TrimRight(address, "/"), "/faults"), http: http.Client{Timeout: time.Minute}}
}

// Member states of station-dev that a drill knows.
const (
	devRunning = "running"
	devKilled  = "killed"
)

// devMember, devCluster and devChange are what a drill needs of its JSON.
type devMember struct {
	ID     string    `json:"id"`
	State  string    `json:"state"`
	Starts int       `json:"starts"`
	Since  time.Time `json:"since"`
}

func (m devMember) String() string {
	return fmt.Sprintf("%s, start %d at %s, %s", m.ID, m.Starts, m.Since.UTC().Format(time.RFC3339Nano), m.State)
}

type devCluster struct {
	APIs    []string    `json:"apis"`
	Members []devMember `json:"members"`
}

type devChange struct {
	At     time.Time `json:"at"`
	Before devMember `json:"before"`
	After  devMember `json:"after"`
}

// Takes returns nil for a fault that can be done inside one process, and else an
// error that says what takes it.
func (d *Dev) Takes(f Fault) error {
	switch f {
	case LeaderKill, WorkerKill, LeaderTransfer:
		return nil
	default:
		return fmt.Errorf("%s can't be done inside one process: station-dev takes %s, %s and %s; for others start a cluster of processes by 'scripts/cluster up' "+
			"(with --links for faults of links) and name its folder by --cluster", f, LeaderKill, WorkerKill, LeaderTransfer)
	}
}

// Servers returns the base URLs of the cluster's coordinators, as a client takes
// them.
func (d *Dev) Servers(ctx context.Context) (string, error) {
	var c devCluster
	if err := d.call(ctx, http.MethodGet, nil, &c); err != nil {
		return "", err
	}
	if len(c.APIs) == 0 {
		return "", fmt.Errorf("station-dev: %s names no API", d.base)
	}
	return strings.Join(c.APIs, ","), nil
}

// Inject kills the part that the fault hits. The proof is what the part was before
// and is after.
func (d *Dev) Inject(ctx context.Context, f Fault, n Names) (Evidence, error) {
	if err := d.Takes(f); err != nil {
		return Evidence{}, err
	}
	c, err := d.change(ctx, "kill", f.process(n))
	if err != nil {
		return Evidence{}, err
	}
	if c.Before.State != devRunning || c.After.State != devKilled || c.At.IsZero() {
		return Evidence{}, fmt.Errorf("station-dev: a kill of what was %q left %q", c.Before, c.After)
	}
	return Evidence{At: c.At, Proof: fmt.Sprintf("%s; then %s", c.Before, c.After.State)}, nil
}

// Heal starts the part again, if it does not run, and makes sure that it was
// started once more.
func (d *Dev) Heal(ctx context.Context, f Fault, n Names) error {
	name := f.process(n)
	before, err := d.member(ctx, name)
	if err != nil {
		return err
	}
	if before.State == devRunning {
		return nil
	}
	c, err := d.change(ctx, "start", name)
	if err != nil {
		return err
	}
	if c.After.State != devRunning || c.After.Starts <= before.Starts {
		return fmt.Errorf("station-dev: a start of what was %q left %q", c.Before, c.After)
	}
	return nil
}

func (d *Dev) member(ctx context.Context, name string) (devMember, error) {
	var c devCluster
	if err := d.call(ctx, http.MethodGet, nil, &c); err != nil {
		return devMember{}, err
	}
	for _, m := range c.Members {
		if m.ID == name {
			return m, nil
		}
	}
	return devMember{}, fmt.Errorf("station-dev: %s runs no %q", d.base, name)
}

func (d *Dev) change(ctx context.Context, action, name string) (c devChange, err error) {
	err = d.call(ctx, http.MethodPost, map[string]string{"action": action, "member": name}, &c)
	return c, err
}

func (d *Dev) call(ctx context.Context, method string, body, into any) error {
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			return fmt.Errorf("station-dev: write request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, d.base+"/faults", &b)
	if err != nil {
		return fmt.Errorf("station-dev: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := d.http.Do(req)
	if err != nil {
		return fmt.Errorf("station-dev: no answer from its port for faults, which 'station-dev --faults HOST:PORT' opens: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	if resp.StatusCode != http.StatusOK {
		var refused struct {
			Error string `json:"error"`
		}
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // what there is; the status is the error
		if json.Unmarshal(text, &refused) != nil || refused.Error == "" {
			return fmt.Errorf("station-dev: %s answers %s; it must be the port that --faults opens", req.URL, resp.Status)
		}
		return errors.New("station-dev: " + refused.Error)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(into); err != nil {
		return fmt.Errorf("station-dev: read answer: %w", err)
	}
	return nil
}
