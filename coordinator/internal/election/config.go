package election

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Defaults and limits of Config.
const (
	DefaultTTL = 5 * time.Second
	MinTTL     = time.Second
	maxInfo    = 64 << 10
)

// Errors that a caller decides by.
var (
	// ErrNoLeader says that no coordinator leads at present.
	ErrNoLeader = errors.New("no coordinator leads at present")
	// ErrNotLeading says that this coordinator does not lead.
	ErrNotLeading = errors.New("this coordinator does not lead")
	// ErrNoSuccessor says that no other coordinator stands, so leadership has
	// nowhere to go.
	ErrNoSuccessor = errors.New("no other coordinator stands for election")
	// ErrRunning says that Run was called while an earlier call still runs.
	ErrRunning = errors.New("elector runs already")
)

// Config describes one candidate.
type Config struct {
	Client *clientv3.Client
	Prefix string // first part of every key, without a trailing slash, e.g. "station"
	ID     string // name of this coordinator, shown to people; needs not be unique
	// Presence, when set, is where this coordinator shows that it lives; Run
	// serves and closes it. Without it a crash is noticed by the lease alone.
	Presence net.Listener
	// PresenceAddress is the host:port under which others reach Presence; its
	// own address when empty.
	PresenceAddress string
	// Instance names this process; made up when empty. The electors of one process
	// share it, and one of them serves Presence at the PresenceAddress of all.
	Instance string
	Info     json.RawMessage // addresses and the like, kept in the key; nil or valid JSON up to 64 KiB
	TTL      time.Duration   // asked of etcd, rounded up to seconds; 0 means DefaultTTL
	Margin   time.Duration   // subtracted from the granted TTL; 0 means a tenth of it
	Log      hclog.Logger    // nil: silent
	// Now is read for trust windows and for the since of a leadership; nil
	// means time.Now. Its times need a monotonic reading.
	Now func() time.Time
}

func (c Config) withDefaults() (Config, error) {
	var faults []error
	fault := func(format string, a ...any) { faults = append(faults, fmt.Errorf(format, a...)) }
	if c.Client == nil {
		fault("Client is nil")
	}
	c.Prefix = strings.TrimRight(c.Prefix, "/")
	if c.Prefix == "" {
		fault("Prefix is empty; give the first part of all keys, such as %q", "station")
	}
	if _, err := ids.ParseWorkerID(c.ID); err != nil {
		fault("ID: %w", err)
	}
	if c.Info != nil && !json.Valid(c.Info) {
		fault("Info is not valid JSON")
	}
	if len(c.Info) > maxInfo {
		fault("Info has %d bytes; at most %d are allowed", len(c.Info), maxInfo)
	}
	if c.TTL == 0 {
		c.TTL = DefaultTTL
	}
	if c.TTL < MinTTL {
		fault("TTL is %v; at least %v is needed", c.TTL, MinTTL)
	}
	if c.Margin < 0 || c.Margin > c.TTL/2 {
		fault("Margin is %v; it must lie between 0 and half the TTL of %v", c.Margin, c.TTL)
	}
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if len(faults) > 0 {
		return c, fmt.Errorf("election config: %w", errors.Join(faults...))
	}
	return c, nil
}
