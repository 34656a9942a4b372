package worker

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/process"
	"github.com/tradingflow/weather-station/shared/taskqueue/rabbit"
	"github.com/tradingflow/weather-station/worker/builtin"
	"github.com/tradingflow/weather-station/worker/node"
)

// serve runs a worker on real servers.
func serve(ctx context.Context, s Settings, log hclog.Logger, register func(*node.Registry)) (err error) {
	reg := node.NewRegistry()
	builtin.Register(reg, builtin.Config{DataDir: s.DataDir, AllowExec: s.AllowExec, AllowPrivateHTTP: s.AllowPrivateHTTP, Log: log})
	if register != nil {
		register(reg)
	}
	cfg := Config{ID: s.ID, Pool: s.Pool, Concurrency: s.Concurrency, Prefix: s.Prefix, Lease: s.Lease, Grace: s.Grace, EarlyAck: s.EarlyAck, QueueOnly: !s.Direct, Brief: s.Brief,
		Coordinators: s.Coordinators, Log: log, Advertise: s.Advertise}
	if s.Grace == 0 { // asked for: the flag has a default
		cfg.Grace = -1
	}
	switch {
	case s.Brief < 0:
		return fmt.Errorf("worker settings: brief is %s; it can't be negative", s.Brief)
	case s.Brief == 0:
		cfg.Brief = -1
	}
	pools, err := rabbit.ParseTypes(s.QueueType, s.PoolQueueTypes)
	if err != nil {
		return err
	}
	if err := cfg.complete(); err != nil {
		return fmt.Errorf("worker settings: %w", err)
	}
	if s.HTTPAddr != "" {
		var lc net.ListenConfig
		if cfg.Health, err = lc.Listen(ctx, "tcp", s.HTTPAddr); err != nil {
			return fmt.Errorf("listen for health: %w", err)
		}
		defer func() { _ = cfg.Health.Close() }() // if Run did not
	}
	if s.Pprof != "" {
		if cfg.Profiles, err = process.ListenProfiles(ctx, s.Pprof); err != nil {
			return &process.UsageError{Err: err}
		}
		defer func() { _ = cfg.Profiles.Close() }() // if Run did not
	}
	// A slot may hold a Redis call each, and heartbeats must never wait for one.
	l, err := ledger.WaitSet(ctx, ledger.Config{URL: s.RedisURL, Prefix: s.Prefix, Name: cfg.ID, JournalMax: ledger.LeaveJournal, Connections: s.Concurrency + 8}, 0, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	consumer := rabbit.NewConsumer(rabbit.Config{URL: s.RabbitmqURL, Prefix: s.Prefix, Name: cfg.ID, Log: log, QueueType: s.QueueType, PoolTypes: pools})
	return Run(ctx, cfg, l, consumer, reg)
}
