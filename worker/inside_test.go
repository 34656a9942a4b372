package worker

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/process"
)

// TestAddress: what a worker announces must lead coordinators to it, or nowhere.
func TestAddress(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ listen, advertise, host string }{
		{"127.0.0.1:0", "", "127.0.0.1"},
		{":0", "", host},
		{"0.0.0.0:0", "", host},
		{":0", "w1.example:7003", "w1.example"},
	} {
		var lc net.ListenConfig
		ln, err := lc.Listen(t.Context(), "tcp", c.listen)
		if err != nil {
			t.Fatal(err)
		}
		got := address(Config{Health: ln, Advertise: c.advertise})
		if h, _, err := net.SplitHostPort(got); err != nil || h != c.host {
			t.Errorf("listening on %s, advertise %q: announced is %q, want host %s", c.listen, c.advertise, got, c.host)
		}
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := address(Config{}); got != "" {
		t.Errorf("without a listener %q is announced", got)
	}
}

// silent takes beats and never answers.
type silent struct{ beats, left int }

func (s *silent) BeatWorker(ctx context.Context, _ ledger.Worker, _ time.Duration) error {
	s.beats++
	<-ctx.Done()
	return ctx.Err()
}

func (s *silent) LeaveWorker(context.Context, ids.WorkerID) error { s.left++; return nil }

// TestReporterLives: a Redis that hangs does not make the worker look dead.
func TestReporterLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health, s := process.NewHealth(nil), &silent{}
		r := &reporter{ledger: s, every: 2 * time.Second, ttl: 15 * time.Second, busy: func() int { return 0 },
			loop: health.Loop("beat", 10*time.Second), log: hclog.NewNullLogger()}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- r.run(ctx) }()
		<-time.After(59 * time.Minute)
		if report := health.Live(); !report.OK() {
			t.Errorf("not alive: %+v", report)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if s.beats < 1000 || s.left != 1 {
			t.Errorf("%d beats, left %d times", s.beats, s.left)
		}
	})
}

// A port for profiles that others could reach is refused before anything is asked of
// the servers.
func TestProfilesStayHere(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "7009"} {
		s := Settings{Concurrency: 1, Lease: time.Second, RedisURL: "redis://127.0.0.1:1/0", Pprof: address, QueueType: "auto"}
		err := serve(t.Context(), s, hclog.NewNullLogger(), nil)
		if process.ExitCode(err) != process.ExitUsage || !strings.Contains(err.Error(), "pprof") {
			t.Errorf("%q: %v", address, err)
		}
	}
}
