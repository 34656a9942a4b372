package election

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// session is a lease and what is known about it. Its keep loop renews the lease
// until its context ends or the server says that the lease is gone.
type session struct {
	client *clientv3.Client
	log    hclog.Logger
	now    func() time.Time

	id     clientv3.LeaseID
	ttl    time.Duration // as granted
	window *window
	leads  atomic.Bool   // set while the session's candidate leads: only the log's level depends on it
	gone   chan struct{} // closed when the server says that there is no such lease
}

// tryTimeout bounds one request. Without it a request to an etcd member that is
// electing waits for seconds.
func tryTimeout(ttl time.Duration) time.Duration { return min(ttl/4, time.Second) }

func (e *Elector) openSession(ctx context.Context) (*session, error) {
	seconds := int64((e.cfg.TTL + time.Second - 1) / time.Second)
	sent := e.cfg.Now()
	tctx, cancel := context.WithTimeout(ctx, tryTimeout(e.cfg.TTL)*2)
	defer cancel()
	granted, err := e.cfg.Client.Grant(tctx, seconds)
	if err != nil {
		return nil, fmt.Errorf("grant lease: %w", err)
	}
	ttl := time.Duration(granted.TTL) * time.Second
	margin := e.cfg.Margin
	if margin == 0 {
		margin = ttl / 10
	}
	w := &window{now: e.cfg.Now, span: ttl - margin}
	w.extend(sent)
	return &session{
		client: e.cfg.Client, log: e.cfg.Log, now: e.cfg.Now,
		id: granted.ID, ttl: ttl, window: w, gone: make(chan struct{}),
	}, nil
}

// keep renews the lease every quarter of its TTL, and sooner after a failure.
func (s *session) keep(ctx context.Context) {
	var (
		interval = s.ttl / 4
		retry    = min(max(s.ttl/20, 50*time.Millisecond), 500*time.Millisecond)
		next     = interval
		trusted  = true
	)
	timer := time.NewTimer(next)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		sent := s.now()
		alive, err := s.renew(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			next = retry
			if trusted && !s.window.trusted() {
				trusted = false
				s.note("lease not renewed in time, term goes on untrusted", "lease", s.id, "error", err)
			}
		case !alive:
			s.window.close()
			close(s.gone)
			return
		default:
			next = interval
			s.window.extend(sent)
			if !trusted {
				trusted = true
				s.note("lease renewed, term is trusted again", "lease", s.id)
			}
		}
		if trusted { // look again no later than when trust runs out
			next = max(min(next, s.window.deadline().Sub(s.now())), 10*time.Millisecond)
		}
		timer.Reset(next)
	}
}

func (s *session) note(msg string, args ...any) {
	if s.leads.Load() {
		s.log.Warn(msg, args...)
	}
}

// renew makes one try. It speaks to the lease service directly because
// Client.KeepAliveOnce repeats a refused request without any pause until its
// context ends.
func (s *session) renew(ctx context.Context) (alive bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout(s.ttl))
	defer cancel() // ends the stream as well
	stream, err := pb.NewLeaseClient(s.client.ActiveConnection()).LeaseKeepAlive(ctx)
	if err != nil {
		return false, fmt.Errorf("renew lease: %w", err)
	}
	// io.EOF means that Recv knows the reason.
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(s.id)}); err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("renew lease: %w", err)
	}
	resp, err := stream.Recv()
	if err != nil {
		return false, fmt.Errorf("renew lease: %w", err)
	}
	return resp.GetTTL() > 0, nil
}

// revoke makes one try to end the lease; one that fails ends by itself.
func (s *session) revoke(ctx context.Context) {
	select {
	case <-s.gone:
		return
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout(s.ttl))
	defer cancel()
	if _, err := s.client.Revoke(ctx, s.id); err != nil && ctx.Err() == nil {
		s.log.Debug("cannot revoke lease, it runs out by itself", "lease", s.id, "error", err)
	}
}
