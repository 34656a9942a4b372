package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/partition"
)

// Set is the ledger of every partition of a deployment (package partition), over the
// same connections. It is safe for concurrent use.
type Set struct {
	cfg  Config
	root *Ledger // has the connections; the one partition's ledger, if there is one only

	changing sync.Mutex
	all      atomic.Pointer[[]*Ledger]
}

// One makes a set of a deployment that has one partition. It closes the ledger.
func One(l *Ledger) *Set {
	s := &Set{cfg: Config{Prefix: l.prefix}, root: l}
	s.all.Store(&[]*Ledger{l})
	return s
}

// OpenSet is Open for every partition. 0 partitions are as many as the ledger was
// told (Tell), 1 if it was not.
func OpenSet(ctx context.Context, cfg Config, partitions int) (_ *Set, err error) {
	if cfg.Prefix == "" {
		cfg.Prefix = "station"
	}
	if err := partition.Check(cfg.Prefix, max(partitions, 1)); err != nil {
		return nil, err
	}
	cfg.parts = partitions != 1
	root, err := connect(cfg)
	if err != nil {
		return nil, err
	}
	s := &Set{cfg: cfg, root: root}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.Close())
		}
	}()
	if err := root.inspect(ctx); err != nil {
		return nil, err
	}
	told := partitions
	if told == 0 {
		if told, err = s.told(ctx); err != nil {
			return nil, err
		}
		told = max(told, 1)
	}
	if _, err := options(Config{URL: cfg.URL, Prefix: cfg.Prefix, parts: told > 1}); err != nil {
		if partitions == 0 { // those who know may come yet
			return nil, fmt.Errorf("%w: no coordinator has told how many partitions there are: %w", ErrUnavailable, err)
		}
		return nil, err
	}
	if err := s.adopt(ctx, told); err != nil {
		return nil, err
	}
	return s, nil
}

// Close gives the connections up.
func (s *Set) Close() error {
	for _, l := range s.All() {
		if l != s.root {
			_ = l.Close() // it has none of its own but for one that waits
		}
	}
	return s.root.Close()
}

// All returns the ledgers in the order of their partitions.
func (s *Set) All() []*Ledger { return *s.all.Load() }

// Count returns how many partitions there are, as far as this process knows.
func (s *Set) Count() int { return len(s.All()) }

// Of returns the ledger of a flow's partition.
func (s *Set) Of(f ids.FlowID) *Ledger {
	all := s.All()
	return all[partition.Of(f, len(all))]
}

// Partition returns the partition that a flow is in.
func (s *Set) Partition(f ids.FlowID) int { return partition.Of(f, s.Count()) }

func (s *Set) key() string { return s.cfg.Prefix + ":partitions" }

// Tell writes the number of partitions where workers look for it. With one
// partition nothing stands there: that is what they take it to be.
func (s *Set) Tell(ctx context.Context) error {
	var err error
	if s.Count() > 1 {
		err = s.root.rdb.Set(ctx, s.key(), s.Count(), 0).Err()
	} else {
		err = s.root.rdb.Del(ctx, s.key()).Err()
	}
	if err != nil {
		return fmt.Errorf("tell the number of partitions: %w", classify(err))
	}
	return nil
}

// told returns the number that the ledger was told; 0 = none.
func (s *Set) told(ctx context.Context) (int, error) {
	text, err := s.root.rdb.Get(ctx, s.key()).Result()
	if isNil(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the number of partitions: %w", classify(err))
	}
	n, err := strconv.Atoi(text)
	if err == nil {
		err = partition.Check(s.cfg.Prefix, n)
	}
	if err != nil {
		return 0, fmt.Errorf("key %s holds %.20q: %w", s.key(), text, err)
	}
	return n, nil
}

// Learn adopts the number of partitions that the ledger was told. One that is told
// nothing keeps what it knows: Redis may have lost the number.
func (s *Set) Learn(ctx context.Context) error {
	n, err := s.told(ctx)
	if err != nil || n == 0 {
		return err
	}
	return s.adopt(ctx, n)
}

// Heed takes over the number of partitions that a task carries (0 is 1), and reports
// whether it counts: what the ledger was told counts more. A task from before the number
// was changed is of no use to anybody.
func (s *Set) Heed(ctx context.Context, partitions int) (bool, error) {
	if partitions = max(partitions, 1); s.Count() == partitions {
		return true, nil
	}
	if err := partition.Check(s.cfg.Prefix, partitions); err != nil {
		return false, err
	}
	n, err := s.told(ctx)
	if err != nil {
		return false, err
	}
	if n == 0 { // lost, or not told yet
		n = partitions
	}
	if err := s.adopt(ctx, n); err != nil {
		return false, err
	}
	return n == partitions, nil
}

// adopt makes the ledgers of so many partitions, unless one is of another schema. Those
// that All or Of gave before remain good.
func (s *Set) adopt(ctx context.Context, partitions int) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	if now := s.all.Load(); now != nil && len(*now) == partitions {
		return nil
	}
	all := []*Ledger{s.root}
	if partitions > 1 {
		all = make([]*Ledger, partitions)
		for p := range all {
			all[p] = s.root.beside(partition.Prefix(s.cfg.Prefix, p, partitions))
			if s.root.elected { // perhaps another server
				if err := all[p].inspect(ctx); err != nil {
					return fmt.Errorf("partition %d: %w", p, err)
				}
			}
		}
	}
	for p, l := range all {
		if err := l.checkSchema(ctx); err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
	}
	s.all.Store(&all)
	return nil
}

// Ping asks whether the server of every partition answers.
func (s *Set) Ping(ctx context.Context) error {
	all := s.All()
	if !s.root.elected { // one server
		return s.root.Ping(ctx)
	}
	for p, l := range all {
		node, err := l.node(ctx)
		if err == nil {
			err = node.Ping(ctx).Err()
		}
		if err != nil && len(all) > 1 {
			return fmt.Errorf("ping redis of partition %d: %w", p, classify(err))
		}
		if err != nil {
			return fmt.Errorf("ping redis: %w", classify(err))
		}
	}
	return nil
}
