package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/deploy/dev/procs"
)

// Holding is what one process holds: goroutines, file descriptors without connections
// to Redis, these, and the bytes of its heap that are in use after a collection.
type Holding struct{ Goroutines, Descriptors, Redis, Heap int64 }

func (h Holding) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors and %d to Redis, %.1f MiB", h.Goroutines, h.Descriptors, h.Redis, float64(h.Heap)/(1<<20))
}

// most is the larger of each.
func (h Holding) most(o Holding) Holding {
	return Holding{max(h.Goroutines, o.Goroutines), max(h.Descriptors, o.Descriptors), max(h.Redis, o.Redis), max(h.Heap, o.Heap)}
}

// allowed is what a process may hold whose baseline is h: 5 % more, and what comes and
// goes by itself in a process at rest: a few connections, each with up to three
// goroutines, and a cache of plans. The pool of connections to Redis is not a leak: it
// is as large as it once had to be and has an upper bound, to which it is held. Each of
// them has two buffers.
func (h Holding) allowed(redis int64) Holding {
	return Holding{
		Goroutines:  h.Goroutines + max(h.Goroutines/20, 3*spare),
		Descriptors: h.Descriptors + max(h.Descriptors/20, spare),
		Redis:       poolMost,
		Heap:        h.Heap + max(h.Heap/20, spareHeap) + max(0, redis-h.Redis)*perConnection,
	}
}

const (
	spare         = 8
	spareHeap     = 3 << 20
	perConnection = 80 << 10
	// poolMost is the pool of a worker that runs 64 nodes at once, and what waits
	// beside it.
	poolMost = 64 + 8 + 8
)

// Holdings is what the processes of each role hold: the most of those that have it. A
// process that was started anew has no baseline of its own, and a standby may have come
// to lead, so that roles are compared and not processes.
type Holdings map[string]Holding

// Over tells what is more than a baseline allows, with both figures.
func (h Holdings) Over(base Holdings) (found []string) {
	for _, role := range slices.Sorted(maps.Keys(h)) {
		b, known := base[role]
		if !known {
			continue
		}
		if role == "standby" { // it may have led: its pools are as large as they once had to be
			b.Heap = max(b.Heap, base["leader"].Heap)
		}
		got := h[role]
		most := b.allowed(got.Redis)
		if got.Goroutines > most.Goroutines {
			found = append(found, fmt.Sprintf("%s: %d goroutines, %d at the baseline", role, got.Goroutines, b.Goroutines))
		}
		if got.Descriptors > most.Descriptors {
			found = append(found, fmt.Sprintf("%s: %d file descriptors, %d at the baseline", role, got.Descriptors, b.Descriptors))
		}
		if got.Redis > most.Redis {
			found = append(found, fmt.Sprintf("%s: %d connections to Redis, %d at the baseline", role, got.Redis, b.Redis))
		}
		if got.Heap > most.Heap {
			found = append(found, fmt.Sprintf("%s: %d bytes of heap, %d at the baseline", role, got.Heap, b.Heap))
		}
	}
	return found
}

func (h Holdings) String() string {
	var out []string
	for _, role := range slices.Sorted(maps.Keys(h)) {
		out = append(out, role+" "+h[role].String())
	}
	return strings.Join(out, "; ")
}

// Holdings measures what every part holds. The cluster should be at rest.
func (c *Cluster) Holdings(ctx context.Context) (Holdings, error) {
	leader, _, err := c.Leader(ctx)
	if err != nil {
		return nil, err
	}
	c.API.Close() // its idle connections are the harness's
	out := Holdings{}
	for _, p := range c.Parts() {
		if !p.Running() || flag(p, "--pprof") == "" {
			continue
		}
		role := "worker"
		if slices.Contains(c.Coordinators, p) {
			role = "standby"
		}
		if p == leader {
			role = "leader"
		}
		h, err := c.holding(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("what %s holds: %w", p.Name, err)
		}
		out[role] = out[role].most(h)
	}
	return out, nil
}

var (
	goroutines = regexp.MustCompile(`^goroutine profile: total (\d+)`)
	heap       = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)`)
)

// The heap is asked for twice: what pools keep is given up at the second collection.
func (c *Cluster) holding(ctx context.Context, p *procs.Process) (h Holding, err error) {
	at := "http://" + flag(p, "--pprof") + "/debug/pprof/"
	for range 2 {
		if h.Heap, err = figure(ctx, at+"heap?debug=1&gc=1", heap); err != nil {
			return h, err
		}
	}
	if h.Goroutines, err = figure(ctx, at+"goroutine?debug=1", goroutines); err != nil {
		return h, err
	}
	h.Descriptors, h.Redis, err = c.descriptors(p)
	return h, err
}

// descriptors counts a process's open files: those that are connections to Redis, which
// may go over a relay, and all others, without a worker's to the recorder.
func (c *Cluster) descriptors(p *procs.Process) (others, redis int64, err error) {
	addresses := hostPort.FindAllString(flag(p, "--redis-url"), -1)
	for _, name := range c.Servers.Nodes("redis") {
		if a, err := c.Servers.Address(name); err == nil {
			addresses = append(addresses, a)
		}
		if c.Links != nil {
			addresses = append(addresses, c.Links.Addr(p.Name+">"+name))
		}
	}
	there := map[string]bool{} // ports, in the form of the kernel's table
	for _, a := range addresses {
		if _, port, err := net.SplitHostPort(a); err == nil {
			n, _ := strconv.ParseUint(port, 10, 16)
			there[fmt.Sprintf("%04X", n)] = true
		}
	}
	folder := fmt.Sprintf("/proc/%d/", p.Pid())
	toRedis, recorder := map[string]bool{}, map[string]bool{} // of sockets, by inode
	for _, table := range []struct {
		name  string
		inode int // column
	}{{"tcp", 9}, {"tcp6", 9}, {"unix", 6}} {
		text, err := os.ReadFile(folder + "net/" + table.name)
		if err != nil {
			return 0, 0, err
		}
		for l := range strings.Lines(string(text)) {
			if f := strings.Fields(l); len(f) > table.inode {
				_, port, _ := strings.Cut(f[2], ":")
				at := "socket:[" + f[table.inode] + "]"
				toRedis[at] = table.name == "tcp" && there[port]
				recorder[at] = table.name == "unix"
			}
		}
	}
	open, err := os.ReadDir(folder + "fd")
	for _, e := range open {
		to, _ := os.Readlink(folder + "fd/" + e.Name())
		// A connection that was reset is in no table. The pool to Redis keeps such ones
		// until it is their turn; all others are read from, and so closed.
		switch is, known := toRedis[to]; {
		case recorder[to]: // a pool of the harness's
		case is, !known && strings.HasPrefix(to, "socket:"):
			redis++
		default:
			others++
		}
	}
	return others, redis, err
}

func figure(ctx context.Context, url string, where *regexp.Regexp) (int64, error) {
	text, err := get(ctx, url)
	if err != nil {
		return 0, err
	}
	found := where.FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("%s: no figure", url)
	}
	return strconv.ParseInt(string(found[1]), 10, 64)
}

func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(answer.Body)
	return text, errors.Join(err, answer.Body.Close())
}

// KeepProfiles writes down what every part holds, for go tool pprof.
func (c *Cluster) KeepProfiles(ctx context.Context) error {
	var faults []error
	for _, p := range c.Parts() {
		at := flag(p, "--pprof")
		if !p.Running() || at == "" {
			continue
		}
		for _, what := range []string{"heap", "goroutine"} {
			text, err := get(ctx, "http://"+at+"/debug/pprof/"+what)
			if err == nil {
				err = os.WriteFile(c.path(p.Name+"."+what), text, 0o644)
			}
			faults = append(faults, err)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("keep profiles: %w", err)
	}
	return nil
}

// Keys lists the ledger's keys.
func (c *Cluster) Keys(ctx context.Context) (map[string]bool, error) {
	all, err := c.Ledger.Dump(ctx)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	out := make(map[string]bool, len(all))
	for k := range all {
		out[k] = true
	}
	return out, nil
}

// Remove deletes every flow that was registered, with all of its cycles. They are not
// judged any more.
func (c *Cluster) Remove(ctx context.Context, within time.Duration) error {
	for id := range c.flows {
		err := Await(ctx, within, "removal of "+string(id), func() (bool, string) {
			err := c.API.DeleteFlow(ctx, string(id))
			var gone *client.Problem
			return err == nil || errors.As(err, &gone) && gone.Status == http.StatusNotFound, fmt.Sprint(err)
		})
		if err != nil {
			return err
		}
		delete(c.flows, id)
	}
	return nil
}
