package once

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Times and numbers of the sweep.
const (
	// DefaultKeep is how long a key is kept after its cycle is forgotten.
	DefaultKeep = 24 * time.Hour
	// Crowd is how many keys are so many that forgotten ones go after CrowdKeep.
	Crowd     = 500_000
	CrowdKeep = time.Hour

	page  = 500 // keys read at once
	batch = 100 // keys removed at once; etcd takes 128 operations
)

// Cycles tells which occasions the ledger has cycles of.
type Cycles interface {
	Occasions(ctx context.Context, f ids.FlowID) (map[uuid.UUID]bool, error)
}

// Sweeper removes keys that nothing can need any more.
type Sweeper struct {
	Store  *Store
	Cycles Cycles
	Keep   time.Duration
	Log    hclog.Logger
	// Mine says whether Cycles can tell of a flow: the keys of other partitions are
	// theirs to judge. nil = of every flow.
	Mine func(f ids.FlowID) bool
}

// Run sweeps until ctx ends. It needs no fence: what a deposed leader removes, the
// next one would remove as well.
func (s *Sweeper) Run(ctx context.Context) error {
	every := min(max(s.Keep/24, time.Second), time.Hour)
	t := time.NewTimer(min(every, time.Minute))
	defer t.Stop()
	down := false
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
		removed, _, err := s.Sweep(ctx)
		switch {
		case err != nil && ctx.Err() == nil && !down:
			down = true
			s.Log.Warn("once-keys are swept later", "error", err)
		case err == nil && down:
			down = false
			s.Log.Info("once-keys are swept again")
		}
		if removed > 0 {
			s.Log.Info("once-keys swept", "removed", removed)
		}
		t.Reset(every)
	}
}

// Sweep looks at every key once. It returns how many it removed and how many are
// left.
func (s *Sweeper) Sweep(ctx context.Context) (removed, left int, err error) {
	keep := s.Keep
	all, err := s.read(ctx, s.Store.keys(), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return 0, 0, err
	}
	if all.Count > Crowd && keep > CrowdKeep {
		keep = CrowdKeep
		s.Log.Warn("so many once-keys that those of forgotten cycles go sooner; lower --once-keep or give etcd more room", "keys", all.Count, "kept", keep)
	}
	before := s.Store.now().Add(-keep).UnixMilli()
	w := walk{Sweeper: s, before: before}
	from, end := s.Store.keys(), clientv3.GetPrefixRangeEnd(s.Store.keys())
	for {
		part, err := s.read(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(page))
		if err != nil {
			return w.removed, w.left, err
		}
		if err := w.page(ctx, part.Kvs); err != nil {
			return w.removed, w.left, err
		}
		if !part.More || len(part.Kvs) == 0 {
			return w.removed, w.left, nil
		}
		from = string(part.Kvs[len(part.Kvs)-1].Key) + "\x00"
	}
}

// walk is one sweep on its way.
type walk struct {
	*Sweeper
	before        int64 // keys made before are old
	flow          ids.FlowID
	known         map[uuid.UUID]bool // of flow; nil = not asked yet
	removed, left int
}

func (w *walk) page(ctx context.Context, kvs []*mvccpb.KeyValue) error {
	var old []*mvccpb.KeyValue
	for _, kv := range kvs {
		k, ok := w.Store.parse(string(kv.Key))
		var v value
		if !ok || json.Unmarshal(kv.Value, &v) != nil || v.At >= w.before {
			continue // not ours to judge, or young
		}
		if w.Mine != nil && !w.Mine(k.Flow) {
			continue
		}
		if w.known == nil || k.Flow != w.flow {
			known, err := w.Cycles.Occasions(ctx, k.Flow)
			if err != nil {
				return err
			}
			w.flow, w.known = k.Flow, known
			if known == nil {
				w.known = map[uuid.UUID]bool{}
			}
		}
		if !w.known[k.Occasion] {
			old = append(old, kv)
		}
	}
	w.left += len(kvs)
	for part := range slices.Chunk(old, batch) {
		ops := make([]clientv3.Op, len(part))
		for i, kv := range part {
			ops[i] = clientv3.OpDelete(string(kv.Key))
		}
		if _, err := w.Store.commit(ctx, "remove once-keys", nil, ops, nil); err != nil {
			return err
		}
		w.removed += len(part)
		w.left -= len(part)
	}
	return nil
}

func (s *Sweeper) read(ctx context.Context, from string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	timed, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	resp, err := s.Store.client.Get(timed, from, opts...)
	if err == nil {
		return resp, nil
	}
	if ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), err)
	}
	return nil, &Unavailable{Op: "read once-keys", Err: err}
}

// parse reads a key's name.
func (s *Store) parse(name string) (Key, bool) {
	rest, ok := strings.CutPrefix(name, s.keys())
	p := strings.Split(rest, "/")
	if !ok || len(p) != 3 {
		return Key{}, false
	}
	u, err := uuid.Parse(p[1])
	return Key{Flow: ids.FlowID(p[0]), Occasion: u, Node: ids.NodeID(p[2])}, err == nil
}
