package rabbit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hashicorp/go-hclog"
	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	heartbeat    = 3 * time.Second
	dialTimeout  = 5 * time.Second
	closeTimeout = time.Second
	minPause     = 100 * time.Millisecond
	maxPause     = time.Second     // no pause is longer
	steady       = 3 * time.Second // what lasted longer did not fail at once
)

// answerTimeout is how long the broker may take to answer while a channel is opened or
// closed or a queue declared. It may never answer: a channel whose queue lost its leader
// in that moment waits for half a minute for each member of the queue.
const answerTimeout = 10 * time.Second

// link keeps one connection to the broker: it dials, serves, and dials again.
type link struct {
	cfg  Config
	role string
	log  hclog.Logger

	mu      sync.Mutex
	ready   chan struct{} // closed while connected
	up      bool
	blocked time.Time // since when the broker blocks publishers; zero: it does not
}

func newLink(cfg Config, role string) *link {
	return &link{cfg: cfg, role: role, log: cfg.logger(role), ready: make(chan struct{})}
}

// Ready returns a channel that is closed while there is a connection. After a
// loss a new one is returned, so ask again.
func (l *link) Ready() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ready
}

// State tells whether there is a connection, and since when the broker blocks
// publishers on it; the zero time means that it does not.
func (l *link) State() (connected bool, blockedSince time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up, l.blocked
}

// use takes a new connection into use, before it is reported ready. ctx ends
// with the connection, just after it was closed; leave, called then, waits for
// all that use started.
type use func(ctx context.Context, conn *connection) (leave func())

// run connects and calls start for every connection until ctx ends.
func (l *link) run(ctx context.Context, start use) error {
	if err := l.cfg.Validate(); err != nil {
		return err
	}
	pause := newPause()
	brokers := l.cfg.urls()
	at := rand.IntN(len(brokers)) // so that processes spread over the brokers
	failed := 0                   // dials in a row
	for ctx.Err() == nil {
		conn, err := l.dial(ctx, brokers[at])
		if ctx.Err() != nil {
			if err == nil {
				conn.end()
			}
			break
		}
		broker := address(brokers[at])
		at = (at + 1) % len(brokers) // whatever happens, the next one is another one
		if err != nil {
			if failed == 0 {
				l.log.Warn("cannot connect to the broker, trying on", "broker", broker, "error", err)
			}
			if failed++; failed%len(brokers) == 0 {
				wait(ctx, pause.NextBackOff())
			}
			continue
		}
		if failed > 0 { // how long it was away says nothing about what is next
			pause.Reset()
		}
		failed = 0
		began := time.Now()
		l.serve(ctx, conn, broker, start)
		if time.Since(began) > steady {
			pause.Reset()
			if len(brokers) > 1 {
				continue
			}
		}
		wait(ctx, pause.NextBackOff())
	}
	return nil
}

// serve is one generation.
func (l *link) serve(ctx context.Context, conn *connection, broker string, start use) {
	log := l.log.With("broker", broker)
	// The library sends to these from its reader: room for what arrives while
	// this function closes the connection.
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	blocking := conn.NotifyBlocked(make(chan amqp.Blocking, 16))
	generation, end := context.WithCancel(context.WithoutCancel(ctx))
	leave := start(generation, conn)
	l.setUp(true)
	log.Info("connected to the broker")
	for open := true; open; {
		select {
		case <-ctx.Done():
			conn.end()
			log.Info("connection to the broker closed")
			open = false
		case err := <-closed:
			if err != nil {
				log.Warn("connection to the broker lost", "error", err)
			}
			open = false
		case b, ok := <-blocking:
			if !ok {
				blocking = nil
				continue
			}
			l.setBlocked(b)
		}
	}
	l.setUp(false)
	end()
	leave()
}

func (l *link) setUp(up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up, l.blocked = up, time.Time{}
	if up {
		close(l.ready)
	} else {
		l.ready = make(chan struct{})
	}
}

func (l *link) setBlocked(b amqp.Blocking) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case b.Active && l.blocked.IsZero():
		l.blocked = time.Now()
		l.log.Warn("broker blocks publishers", "reason", b.Reason)
	case !b.Active && !l.blocked.IsZero():
		l.log.Info("broker takes messages again", "blocked", time.Since(l.blocked).Round(time.Millisecond))
		l.blocked = time.Time{}
	}
}

// dial makes a connection; it gives up when ctx ends.
func (l *link) dial(ctx context.Context, broker string) (*connection, error) {
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(l.cfg.Name + " " + l.role)
	var raw net.Conn
	var out *wire
	stop := func() bool { return true }
	conn, err := amqp.DialConfig(broker, amqp.Config{
		Heartbeat:  heartbeat,
		Properties: properties,
		Dial: func(network, addr string) (net.Conn, error) {
			dialer := net.Dialer{Timeout: dialTimeout}
			var err error
			if raw, err = dialer.DialContext(ctx, network, addr); err != nil {
				return nil, err
			}
			stop = context.AfterFunc(ctx, func() { _ = raw.Close() })
			// For the handshake; the library lifts it afterwards.
			if err := raw.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
				_ = raw.Close()
				return nil, err
			}
			out = newWire(raw)
			return out, nil
		},
	})
	stop()
	if err != nil {
		if out != nil {
			_ = out.Close()
		}
		return nil, fmt.Errorf("dial: %w", err)
	}
	again := func(ctx context.Context) (*connection, error) { return l.dial(ctx, broker) }
	return &connection{Connection: conn, raw: raw, log: l.log, again: again}, nil
}

// connection is an AMQP connection and the socket below it.
type connection struct {
	*amqp.Connection
	raw net.Conn
	log hclog.Logger

	again func(context.Context) (*connection, error) // makes another one to the same broker
}

// bounded runs a question to the broker. The library cannot be told to stop waiting, so
// one that gets no answer in time costs the connection; the next one goes to another
// broker, if there is one.
func (c *connection) bounded(limit time.Duration, question func() error) error {
	timer := time.AfterFunc(limit, func() {
		c.log.Warn("broker does not answer, connecting anew")
		c.end()
	})
	defer timer.Stop()
	return question()
}

// end closes politely if the broker answers soon, else at once. What Close
// returns does not matter: the connection is gone in any case. The library's own
// CloseDeadline will not do, since a frame that still arrives lifts its deadline.
func (c *connection) end() {
	timer := time.AfterFunc(closeTimeout, func() { _ = c.raw.Close() })
	defer timer.Stop()
	_ = c.Close()
}

func newPause() *backoff.ExponentialBackOff {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.Multiplier = minPause, 2
	pause.MaxInterval = time.Duration(float64(maxPause) / (1 + pause.RandomizationFactor))
	pause.Reset()
	return pause
}

// wait returns after d or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
