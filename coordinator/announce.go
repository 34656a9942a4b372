package coordinator

import (
	"context"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/ledger"
)

// How often a coordinator announces itself, and how long that lasts. Workers keep
// what they read for a while and ask whoever answers, so a dead one does not
// disturb; but one that is alive must be found again soon after Redis lost it.
const (
	announceEvery = time.Second
	announceFor   = 15 * time.Second
)

// announcements is the ledger as a coordinator announces itself in it.
type announcements interface {
	BeatCoordinator(ctx context.Context, c ledger.Coordinator, ttl time.Duration) error
	LeaveCoordinator(ctx context.Context, c ledger.Coordinator) error
}

// announce tells the workers where this coordinator's API is: before they start an
// at-most-once node they ask for its once-key.
type announce struct {
	ledger announcements
	self   ledger.Coordinator
	log    hclog.Logger
}

func announcer(l announcements, cfg Config, log hclog.Logger) *announce {
	host, err := os.Hostname()
	if err != nil {
		host = "" // then nobody takes its loopback address for their own
	}
	return &announce{ledger: l, self: ledger.Coordinator{ID: cfg.ID, URL: cfg.Advertise, Host: host}, log: log}
}

func (a *announce) run(ctx context.Context) error {
	t := time.NewTicker(announceEvery)
	defer t.Stop()
	down := false
	for {
		err := a.beat(ctx)
		switch {
		case err != nil && ctx.Err() == nil && !down:
			down = true
			a.log.Warn("this coordinator can't be announced to workers", "error", err)
		case err == nil && down:
			down = false
			a.log.Info("this coordinator is announced to workers again")
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if err := a.ledger.LeaveCoordinator(last, a.self); err != nil {
				a.log.Debug("the announcement can't be taken back; it runs out", "error", err)
			}
			return nil
		}
	}
}

func (a *announce) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, announceFor/3)
	defer cancel()
	return a.ledger.BeatCoordinator(ctx, a.self, announceFor)
}

// reachable is an address under which others may reach a listener: this host's
// name for one that listens everywhere, since "[::]" is whoever dials it.
func reachable(addr net.Addr) string {
	a, ok := addr.(*net.TCPAddr)
	if !ok || !a.IP.IsUnspecified() {
		return addr.String()
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		return addr.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(a.Port))
}
