// Package rig is a cluster that things are done to: real servers, real
// coordinators and workers as processes, a recorder, and load. It measures and
// judges; what goes wrong is for its users to bring about.
package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/deploy/dev/histcheck"
	"github.com/tradingflow/weather-station/deploy/dev/links"
	"github.com/tradingflow/weather-station/deploy/dev/netns"
	"github.com/tradingflow/weather-station/deploy/dev/procs"
	"github.com/tradingflow/weather-station/deploy/dev/servers"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// Packages are the binaries that a cluster consists of.
var Packages = []string{"./coordinator/cmd/coordinator", "./deploy/dev/recorder/cmd/recorder", "./deploy/dev/recorder/cmd/record-worker"}

// Options say what a cluster is like. Zero values mean the defaults.
type Options struct {
	Servers      *servers.Set
	Dir          string        // for logs and the recorder's file; it is made
	Say          io.Writer     // progress; nil = none
	Coordinators int           // 2
	Workers      int           // 3
	Concurrency  int           // nodes that a worker runs at once; 64
	LeaderTTL    time.Duration // 2 s
	Lease        time.Duration // 2 s
	Coordinator  []string      // more flags of coordinators
	Worker       []string      // more flags of workers
	Env          []string      // of every coordinator and worker
	Links        bool          // put a relay on every link
	Apart        string        // the part that runs in a network of its own
}

func (o *Options) complete() {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&o.Coordinators, 2)
	set(&o.Workers, 3)
	set(&o.Concurrency, 64)
	if o.LeaderTTL == 0 {
		o.LeaderTTL = 2 * time.Second
	}
	if o.Lease == 0 {
		o.Lease = 2 * time.Second
	}
	if o.Say == nil {
		o.Say = io.Discard
	}
}

// Cluster is a running cluster under a key prefix of its own.
type Cluster struct {
	Options
	Prefix       string
	API          *client.Client
	Ledger       *ledger.Ledger // of the harness, past every fault
	Coordinators []*procs.Process
	Workers      []*procs.Process
	Recorder     *procs.Process
	Links        *links.Set // nil without Options.Links
	Net          *netns.Net // of Options.Apart; nil without
	Began        time.Time

	// What is known of a run that may have changed what is right.
	RedisLost bool // Redis may have forgotten writes
	ClockSet  bool // Redis's clock was set

	flows   map[ids.FlowID]histcheck.Flow
	journal []ledger.Record // as read so far
	doors   *links.Set      // through which the part in Net finds the servers
}

// Start starts a cluster and waits until it is whole. The caller closes it.
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	o.complete()
	c := &Cluster{Options: o, Prefix: "x" + uuid.NewString()[:8], Began: time.Now(), flows: map[ids.FlowID]histcheck.Flow{}}
	if err := os.MkdirAll(filepath.Join(c.Dir, "data"), 0o755); err != nil {
		return nil, fmt.Errorf("start cluster: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	c.Recorder = &procs.Process{Name: "recorder", Path: filepath.Join(o.Servers.Bin, "recorder"), Log: c.path("recorder.log"),
		Args: []string{c.socket(), c.path("recorded.jsonl")}}
	if err := c.Recorder.Start(); err != nil {
		return nil, err
	}
	if o.Links {
		if c.Links, err = links.Open(nil); err != nil {
			return nil, fmt.Errorf("start cluster: %w", err)
		}
	}
	if o.Apart != "" {
		if err := c.openNet(); err != nil {
			return nil, fmt.Errorf("start cluster: %w", err)
		}
	}
	var bases []string
	for range o.Coordinators {
		a, err := c.addCoordinator()
		if err != nil {
			return nil, err
		}
		bases = append(bases, "http://"+a)
	}
	for range o.Workers {
		if _, err := c.AddWorker(); err != nil {
			return nil, err
		}
	}
	if c.API, err = client.New(strings.Join(bases, ","), client.Options{Timeout: 5 * time.Second}); err != nil {
		return nil, fmt.Errorf("start cluster: %w", err)
	}
	if c.Ledger, err = ledger.Open(ctx, ledger.Config{URL: o.Servers.Redis, Prefix: c.Prefix, Name: "chaos"}); err != nil {
		return nil, fmt.Errorf("start cluster: %w", err)
	}
	for _, p := range c.Parts() {
		if err := p.Start(); err != nil {
			return nil, err
		}
	}
	return c, c.Whole(ctx, 60*time.Second)
}

// addCoordinator adds one coordinator; it is not started.
func (c *Cluster) addCoordinator() (address string, err error) {
	name := fmt.Sprintf("coordinator-%d", len(c.Coordinators)+1)
	http, err1 := c.listen(name)
	presence, err2 := c.listen(name)
	etcd, err3 := c.link(name, "etcd", c.Servers.Etcd)
	if err := errors.Join(err1, err2, err3); err != nil {
		return "", err
	}
	p, err := c.process("coordinator", name, append([]string{"--etcd-endpoints", etcd, "--leader-ttl", c.LeaderTTL.String(), "--http-addr", http,
		"--presence-addr", presence, "--journal-max", "5000000", "--keep-cycles", "100"}, c.Coordinator...))
	if err != nil {
		return "", err
	}
	for _, other := range c.Coordinators {
		_, err1 := c.link(name, other.Name, flag(other, "--presence-addr"))
		_, err2 := c.link(other.Name, name, presence)
		if err := errors.Join(err1, err2); err != nil {
			return "", err
		}
	}
	c.Coordinators = append(c.Coordinators, p)
	return http, nil
}

// AddWorker adds one worker; it is not started.
func (c *Cluster) AddWorker() (*procs.Process, error) {
	name := fmt.Sprintf("worker-%d", len(c.Workers)+1)
	a, err := c.listen(name)
	if err != nil {
		return nil, err
	}
	args := []string{"--http-addr", a, "--data-dir", c.path("data"), "--concurrency", fmt.Sprint(c.Concurrency)}
	switch len(c.Workers) % 4 { // every way of a hop is under way
	case 0:
		args = append(args, "--brief", "1h")
	case 1, 3:
		args = append(args, "--no-direct")
	}
	p, err := c.process("record-worker", name, append(args, c.Worker...))
	if err != nil {
		return nil, err
	}
	for _, k := range c.Coordinators {
		_, err1 := c.link(k.Name, name, a)                             // the leader looks whether the worker lives
		_, err2 := c.link(name, "api-"+k.Name, flag(k, "--http-addr")) // the worker asks for once-keys
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
	}
	p.Env = append(p.Env, "STATION_RECORDER="+c.socket(), "STATION_RECORDER_WORKER="+name)
	c.Workers = append(c.Workers, p)
	return p, nil
}

func (c *Cluster) process(binary, name string, args []string) (*procs.Process, error) {
	redis, err1 := c.redis(name)
	rabbit, err2 := c.link(name, "rabbitmq", c.Servers.Rabbit)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	p := &procs.Process{Name: name, Path: filepath.Join(c.Servers.Bin, binary), Log: c.path(name + ".log"), Env: append([]string(nil), c.Env...),
		Args: append([]string{"--id", name, "--prefix", c.Prefix, "--redis-url", redis, "--rabbitmq-url", rabbit,
			"--lease", c.Lease.String(), "--log-level", "info"}, args...)}
	if c.apart(name) { // its loopback is another
		p.Path, p.Args = c.Net.Command(p.Path, p.Args)
		return p, nil
	}
	profiles, err := procs.Address()
	p.Args = append(p.Args, "--pprof", profiles)
	return p, err
}

// link puts a relay between two parts and returns the address, in the form in
// which the target's was given, under which who finds whom; one for each server of
// an address that names several. The addresses that parts tell each other are
// changed on the way.
func (c *Cluster) link(who, whom, address string) (string, error) {
	if c.apart(who) && hostPort.MatchString(address) {
		return c.door(who, whom, address)
	}
	if c.Links == nil {
		return address, nil
	}
	found := hostPort.FindAllString(address, -1)
	for i, at := range found {
		name := whom
		if len(found) > 1 {
			name = fmt.Sprintf("%s-%d", whom, i+1)
		}
		if err := c.relay(who, name, at); err != nil {
			return "", err
		}
		address = strings.Replace(address, at, c.Links.Addr(who+">"+name), 1)
	}
	return address, nil
}

func (c *Cluster) relay(who, whom, target string) error {
	if err := c.Links.Add(links.Link{Name: who + ">" + whom, Listen: "127.0.0.1:0", Target: target}); err != nil {
		return fmt.Errorf("start cluster: %w", err)
	}
	return nil
}

// redis returns the address under which a part finds Redis. With Sentinel that is
// theirs, and what they tell of the servers has to lead to links as well.
func (c *Cluster) redis(who string) (string, error) {
	kind := "redis"
	if strings.HasPrefix(c.Servers.Redis, "redis+sentinel") {
		kind = "sentinel"
		for _, name := range c.Servers.Nodes("redis") {
			a, err := c.Servers.Address(name)
			if err == nil && c.Links != nil {
				err = c.relay(who, name, a)
			}
			if err != nil {
				return "", err
			}
		}
	}
	return c.link(who, kind, c.Servers.Redis)
}

var hostPort = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)

// flag returns the value of a process's flag.
func flag(p *procs.Process, name string) string {
	for i, a := range p.Args {
		if a == name {
			return p.Args[i+1]
		}
	}
	return ""
}

func (c *Cluster) path(name string) string { return filepath.Join(c.Dir, name) }

// A unix socket's path is short, so it doesn't lie in Dir.
func (c *Cluster) socket() string { return filepath.Join(c.Servers.Dir, c.Prefix+".sock") }

// Parts are all coordinators and workers.
func (c *Cluster) Parts() []*procs.Process {
	return append(append([]*procs.Process(nil), c.Coordinators...), c.Workers...)
}

// Close ends every process of the cluster. Logs and the recorder's file stay.
func (c *Cluster) Close() error {
	for _, p := range c.Parts() {
		p.Stop()
	}
	if c.Recorder != nil {
		c.Recorder.Stop()
	}
	if c.Links != nil {
		c.Links.Close()
	}
	if c.Net != nil {
		c.doors.Close()
		if err := c.Net.Close(); err != nil {
			c.Sayf("%v", err)
		}
	}
	if c.API != nil {
		c.API.Close()
	}
	if c.Ledger != nil {
		return c.Ledger.Close()
	}
	return nil
}

// Sayf tells how it goes.
func (c *Cluster) Sayf(format string, args ...any) {
	_, _ = fmt.Fprintf(c.Say, "%7.1fs  %s\n", time.Since(c.Began).Seconds(), fmt.Sprintf(format, args...)) // progress only
}
