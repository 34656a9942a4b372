package election

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Candidate is one coordinator that stands for election.
type Candidate struct {
	ID       string
	Presence string          // host:port of its presence socket, or empty
	Instance string          // names the process; answered by the presence socket
	Info     json.RawMessage // as its Config gave it
	Joined   time.Time       // when it stood, by its own clock
	Key      string          // its key in etcd
	Revision int64           // create revision of the key: the order in the line
}

// Leader is the candidate that leads.
type Leader struct {
	Candidate
	Epoch ids.Epoch
	Since time.Time // when it was elected, by its own clock
}

// value is what a candidate's key holds. Epoch and Since are written by the
// transaction that makes it leader. Times are unix milliseconds.
type value struct {
	ID       string          `json:"id"`
	Presence string          `json:"presence,omitempty"`
	Instance string          `json:"instance,omitempty"`
	Info     json.RawMessage `json:"info,omitempty"`
	Joined   int64           `json:"joined"`
	Epoch    ids.Epoch       `json:"epoch,omitempty"`
	Since    int64           `json:"since,omitempty"`
}

// layout names the keys.
type layout struct{ prefix string }

func (l layout) line() string      { return l.prefix + "/election/" }
func (l layout) epochBase() string { return l.prefix + "/epoch_base" }
func (l layout) candidate(id clientv3.LeaseID) string {
	return fmt.Sprintf("%s%016x", l.line(), int64(id))
}

// decode reads a candidate's key. The leader is nil for one that waits.
func decode(kv *mvccpb.KeyValue) (Candidate, *Leader, error) {
	var v value
	if err := json.Unmarshal(kv.Value, &v); err != nil {
		return Candidate{}, nil, fmt.Errorf("key %s: %w", kv.Key, err)
	}
	c := Candidate{
		ID: v.ID, Presence: v.Presence, Instance: v.Instance, Info: v.Info, Joined: time.UnixMilli(v.Joined),
		Key: string(kv.Key), Revision: kv.CreateRevision,
	}
	if v.Epoch == 0 {
		return c, nil, nil
	}
	return c, &Leader{Candidate: c, Epoch: v.Epoch, Since: time.UnixMilli(v.Since)}, nil
}

// parseBase reads the epoch base. A missing key means 0.
func parseBase(kvs []*mvccpb.KeyValue) (ids.Epoch, error) {
	if len(kvs) == 0 {
		return 0, nil
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(kvs[0].Value)), 10, 64)
	if err != nil || n < 0 || n > 1<<62 {
		return 0, fmt.Errorf("key %s holds %.40q; it needs a number from 0 to 2^62", kvs[0].Key, kvs[0].Value)
	}
	return ids.Epoch(n), nil
}
