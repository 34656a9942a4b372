package chaos

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tradingflow/weather-station/deploy/dev/chaos/load"
	"github.com/tradingflow/weather-station/deploy/dev/chaos/rig"
	"github.com/tradingflow/weather-station/deploy/dev/procs"
)

// slowOnes is how many slow clients there are at a time.
const slowOnes = 200

// fewDescriptors lowers what a part may have open to little more than it has, and has
// slow clients take the rest: the leader every other time, else any part. The cluster
// goes on meanwhile, and the part is whole again when they have gone.
func fewDescriptors(ctx context.Context, t *Trial) error {
	c, err := t.Start(ctx, rig.Options{Coordinators: 3}, load.Config{})
	if err != nil {
		return err
	}
	for i := range t.N {
		p, _, err := c.Leader(ctx)
		if err != nil {
			return err
		}
		if i%2 == 1 {
			p = c.Parts()[t.Rand.IntN(len(c.Parts()))]
		}
		skip, at := len(c.Read(ctx)), time.Now()
		had, err := t.crowd(ctx, c, p)
		if err != nil {
			return err
		}
		if err := c.Whole(ctx, healWithin); err != nil {
			t.Violate("not whole after %s had no descriptors: %v", p.Name, err)
		}
		late := time.Duration(0)
		for _, r := range c.Read(ctx)[skip:] {
			if d, ok := lateness(r); ok {
				t.Measure("slots late by", d)
				late = max(late, d)
			}
		}
		t.Sayf("%d/%d %s had all of its %d descriptors taken, for %s: slots at most %s late", i+1, t.N, p.Name, had, ms(time.Since(at)), ms(late))
	}
	return nil
}

// crowd takes a part's descriptors for a while in which every flow has to end cycles.
// It returns how many there were.
func (t *Trial) crowd(ctx context.Context, c *rig.Cluster, p *procs.Process) (limit uint64, err error) {
	open, err := descriptors(p)
	if err != nil {
		return 0, err
	}
	limit = uint64(open + 4 + t.Rand.IntN(12))
	var before unix.Rlimit
	if err := unix.Prlimit(p.Pid(), unix.RLIMIT_NOFILE, nil, &before); err != nil {
		return 0, fmt.Errorf("limit of %s: %w", p.Name, err)
	}
	if err := unix.Prlimit(p.Pid(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: before.Max}, nil); err != nil {
		return 0, fmt.Errorf("limit of %s: %w", p.Name, err)
	}
	release := slowClients(ctx, c.Serves(p), slowOnes, rand.New(rand.NewPCG(t.Rand.Uint64(), 0)))
	defer func() {
		release()
		if uerr := unix.Prlimit(p.Pid(), unix.RLIMIT_NOFILE, &before, nil); uerr != nil && err == nil {
			err = fmt.Errorf("limit of %s: %w", p.Name, uerr)
		}
	}()
	err = rig.Await(ctx, 10*time.Second, "want of descriptors in "+p.Name, func() (bool, string) {
		n, err := descriptors(p)
		return uint64(n) >= limit, fmt.Sprintf("%d of %d are taken %v", n, limit, err)
	})
	if err != nil {
		return 0, err
	}
	t.Faults(1)
	if err := rig.Pause(ctx, t.between(2*time.Second, 6*time.Second)); err != nil {
		return 0, err
	}
	if err := c.Busy(ctx, healWithin, t.flows, 1); err != nil {
		t.Violate("while %s had no descriptors: %v", p.Name, err)
	}
	return limit, nil
}

func descriptors(p *procs.Process) (int, error) {
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Pid()))
	if err != nil {
		return 0, fmt.Errorf("descriptors of %s: %w", p.Name, err)
	}
	return len(open), nil
}

// slowClients keeps connections to an address until they are released: some send a byte
// of a request each second, some ask a lot and read nothing, some only connect. One that
// is cut off comes again.
func slowClients(ctx context.Context, address string, n int, r *rand.Rand) (release func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for range n {
		kind := r.IntN(3)
		all.Go(func() {
			for ctx.Err() == nil {
				_ = slowly(ctx, address, kind) // how it ends is the server's business
				_ = rig.Pause(ctx, 100*time.Millisecond)
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

func slowly(ctx context.Context, address string, kind int) error {
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	switch kind {
	case 0:
		for _, b := range []byte("GET /livez HTTP/1.1\r\nHost: station\r\nX-Slow: " + strings.Repeat("z", 3600)) {
			if _, err := conn.Write([]byte{b}); err != nil {
				return err
			}
			if err := rig.Pause(ctx, time.Second); err != nil {
				return err
			}
		}
	case 1:
		// The answers fill the buffers between, and then the writes below wait.
		_, err = io.WriteString(conn, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: station\r\n\r\n", 1000))
		if err != nil {
			return err
		}
		<-ctx.Done()
	case 2:
		_, err = conn.Read(make([]byte, 1)) // until it is closed
	}
	return err
}
