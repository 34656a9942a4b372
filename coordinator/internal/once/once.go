package once

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/shared/failpoint"
	"github.com/tradingflow/weather-station/shared/ids"
)

// callTimeout bounds every call. It is shorter than the patience of a worker
// with one coordinator, which so hears that etcd is away and not nothing.
const callTimeout = 1500 * time.Millisecond

// ErrTaken says that the key is another token's.
var ErrTaken = errors.New("the once-key is another's")

// Unavailable says that etcd did not answer in time. A key may have been made all
// the same.
type Unavailable struct {
	Op  string
	Err error
}

func (u *Unavailable) Error() string { return fmt.Sprintf("%s: etcd is unavailable: %v", u.Op, u.Err) }

// Unwrap returns the client's error.
func (u *Unavailable) Unwrap() error { return u.Err }

// Key names an at-most-once node of one occasion.
type Key struct {
	Flow     ids.FlowID
	Occasion uuid.UUID
	Node     ids.NodeID
}

// Config of a Store.
type Config struct {
	Client *clientv3.Client
	Prefix string // first part of every key, e.g. "station"
	// Now gives the time that a key is said to be made; nil means time.Now.
	Now func() time.Time
}

// Store is the once-keys of a cluster. Its methods may be called from any
// goroutine.
type Store struct {
	client *clientv3.Client
	prefix string
	now    func() time.Time
}

// New makes a store. It reaches no server.
func New(cfg Config) (*Store, error) {
	cfg.Prefix = strings.TrimRight(cfg.Prefix, "/")
	var faults []error
	if cfg.Client == nil {
		faults = append(faults, errors.New("Client is nil"))
	}
	if cfg.Prefix == "" {
		faults = append(faults, errors.New(`Prefix is empty; give the first part of all keys, such as "station"`))
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("once-key config: %w", errors.Join(faults...))
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Store{client: cfg.Client, prefix: cfg.Prefix, now: cfg.Now}, nil
}

func (s *Store) keys() string { return s.prefix + "/once/" }
func (s *Store) era() string  { return s.prefix + "/once-era" }
func (s *Store) key(k Key) string {
	return s.keys() + string(k.Flow) + "/" + k.Occasion.String() + "/" + string(k.Node)
}

// value is what a key holds.
type value struct {
	Token uuid.UUID `json:"token"`
	At    int64     `json:"at"` // unix ms
}

// Take makes the key for a token, or finds that it has made it before. ErrTaken
// when it is another's, or can't be read; *Unavailable when etcd does not answer.
func (s *Store) Take(ctx context.Context, k Key, token uuid.UUID) error {
	v, err := json.Marshal(value{Token: token, At: s.now().UnixMilli()})
	if err != nil {
		return fmt.Errorf("encode once-key: %w", err)
	}
	name := s.key(k)
	failpoint.Before("once_put")
	resp, err := s.commit(ctx, "take once-key", []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(name), "=", 0)},
		[]clientv3.Op{clientv3.OpPut(name, string(v))}, []clientv3.Op{clientv3.OpGet(name)})
	failpoint.After("once_put")
	if err != nil {
		return err
	}
	if resp.Succeeded {
		return nil
	}
	var found value
	for _, kv := range resp.Responses[0].GetResponseRange().Kvs {
		if json.Unmarshal(kv.Value, &found) == nil && found.Token == token && token != uuid.Nil {
			return nil
		}
	}
	return fmt.Errorf("%s: %w", name, ErrTaken)
}

// Look reports whether there is a key, and the era of the etcd that says so ("" =
// it has none).
func (s *Store) Look(ctx context.Context, k Key) (there bool, era string, err error) {
	resp, err := s.commit(ctx, "look at once-key", nil, []clientv3.Op{clientv3.OpGet(s.key(k), clientv3.WithCountOnly()), clientv3.OpGet(s.era())}, nil)
	if err != nil {
		return false, "", err
	}
	for _, kv := range resp.Responses[1].GetResponseRange().Kvs {
		era = string(kv.Value)
	}
	return resp.Responses[0].GetResponseRange().Count > 0, era, nil
}

// Era returns the name of etcd's data, and gives it one if it has none.
func (s *Store) Era(ctx context.Context) (string, error) {
	own := uuid.NewString()
	resp, err := s.commit(ctx, "read era of once-keys", []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(s.era()), "=", 0)},
		[]clientv3.Op{clientv3.OpPut(s.era(), own)}, []clientv3.Op{clientv3.OpGet(s.era())})
	if err != nil || resp.Succeeded {
		return own, err
	}
	for _, kv := range resp.Responses[0].GetResponseRange().Kvs {
		return string(kv.Value), nil
	}
	return "", errors.New("read era of once-keys: an empty answer")
}

// commit runs one transaction with the usual deadline and types its error.
func (s *Store) commit(ctx context.Context, op string, when []clientv3.Cmp, then, otherwise []clientv3.Op) (*clientv3.TxnResponse, error) {
	timed, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	failpoint.Before("once_key")
	resp, err := s.client.Txn(timed).If(when...).Then(then...).Else(otherwise...).Commit()
	failpoint.After("once_key")
	switch {
	case err == nil:
		return resp, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", op, ctx.Err())
	}
	return nil, &Unavailable{Op: op, Err: err}
}
