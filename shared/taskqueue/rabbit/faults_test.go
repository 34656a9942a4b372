package rabbit_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/relay"
	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/shared/taskqueue/rabbit"
)

// bench is a publisher behind a relay and an admin that is not.
type bench struct {
	cfg       rabbit.Config
	relay     *relay.Relay
	publisher *rabbit.Publisher
	admin     *rabbit.Admin
	queue     string
}

func newBench(t testing.TB) bench {
	t.Helper()
	direct := rabbit.Config{URL: broker(t), Prefix: "test-" + rand.Text(), Name: "faults", QueueType: rabbit.Quorum}
	cfg := direct
	var b bench
	cfg.URL, b.relay = through(t, direct.URL)
	b.cfg, b.queue = cfg, taskqueue.Queue(cfg.Prefix, "default")
	b.publisher, b.admin = rabbit.NewPublisher(cfg), rabbit.NewAdmin(direct)
	start(t, b.admin)
	t.Cleanup(func() {
		for _, queue := range []string{b.queue, taskqueue.Parking(cfg.Prefix)} {
			if err := b.admin.Delete(context.Background(), queue); err != nil {
				t.Errorf("delete: %v", err)
			}
		}
	})
	return b
}

func (b bench) fault(t testing.TB, f relay.Faults) {
	t.Helper()
	if err := b.relay.Set(f); err != nil {
		t.Fatal(err)
	}
}

func (b bench) publish(t testing.TB, queue string) *taskqueue.Receipt {
	t.Helper()
	receipt, err := b.publisher.Publish(t.Context(), queue, "id", []byte("{}"))
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	return receipt
}

func resolves(t testing.TB, receipt *taskqueue.Receipt, want error) {
	t.Helper()
	await(t, "receipt", receipt.Done())
	if !errors.Is(receipt.Err(), want) {
		t.Fatalf("receipt: got %v, want %v", receipt.Err(), want)
	}
}

func TestPublishWhileDown(t *testing.T) {
	b := newBench(t)
	if _, err := b.publisher.Publish(t.Context(), b.queue, "id", nil); !errors.Is(err, taskqueue.ErrDisconnected) {
		t.Fatalf("before Run: got %v, want %v", err, taskqueue.ErrDisconnected)
	}
	start(t, b.publisher)
	resolves(t, b.publish(t, b.queue), nil)
	was := b.publisher.Ready()
	b.fault(t, relay.Faults{Cut: true})
	until(t, "loss noticed", func() bool { return b.publisher.Ready() != was })
	if _, err := b.publisher.Publish(t.Context(), b.queue, "id", nil); !errors.Is(err, taskqueue.ErrDisconnected) {
		t.Fatalf("while down: got %v, want %v", err, taskqueue.ErrDisconnected)
	}
	if connected, _ := b.publisher.State(); connected {
		t.Error("state is connected while down")
	}
	b.fault(t, relay.Faults{})
	await(t, "reconnection", b.publisher.Ready())
	resolves(t, b.publish(t, b.queue), nil)
}

// TestAnotherBroker: of several addresses one is used; when it is lost, the next
// one is, and when all are lost, the first that is back.
func TestAnotherBroker(t *testing.T) {
	first, a := through(t, broker(t))
	second, b := through(t, broker(t))
	p := rabbit.NewPublisher(rabbit.Config{URL: first + "," + second, Prefix: "test-" + rand.Text(), Name: "several"})
	start(t, p)
	cut := func(r *relay.Relay, f relay.Faults) <-chan struct{} {
		was := p.Ready()
		if err := r.Set(f); err != nil {
			t.Fatal(err)
		}
		return was
	}
	used, other := a, b
	if b.Counts().Open > 0 {
		used, other = b, a
	}
	was := cut(used, relay.Faults{Cut: true})
	until(t, "loss noticed", func() bool { return p.Ready() != was })
	await(t, "connection to the other broker", p.Ready())
	if other.Counts().Open != 1 {
		t.Fatalf("the other broker has %d connections", other.Counts().Open)
	}
	was = cut(other, relay.Faults{Cut: true})
	until(t, "loss noticed", func() bool { return p.Ready() != was })
	cut(used, relay.Faults{})
	await(t, "connection to the one that is back", p.Ready())
}

// TestCutWithOpenReceipts: the broker stored the messages, its answers are lost.
func TestCutWithOpenReceipts(t *testing.T) {
	b := newBench(t)
	start(t, b.publisher)
	resolves(t, b.publish(t, b.queue), nil)
	b.fault(t, relay.Faults{Hole: relay.Down})
	receipts := []*taskqueue.Receipt{b.publish(t, b.queue), b.publish(t, b.queue), b.publish(t, b.queue)}
	until(t, "messages stored", func() bool {
		d, err := b.admin.Depth(t.Context(), b.queue)
		return err == nil && d.Ready == 4
	})
	for _, r := range receipts {
		select {
		case <-r.Done():
			t.Fatal("receipt resolved without an answer")
		default:
		}
	}
	b.relay.Reset()
	b.fault(t, relay.Faults{})
	for _, r := range receipts {
		resolves(t, r, taskqueue.ErrUnconfirmed)
	}
}

// TestSilentBroker: a broker that says nothing any more is given up after three
// heartbeats.
func TestSilentBroker(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	start(t, b.publisher)
	resolves(t, b.publish(t, b.queue), nil)
	b.fault(t, relay.Faults{Hole: relay.Down})
	began := time.Now()
	resolves(t, b.publish(t, b.queue), taskqueue.ErrUnconfirmed)
	if took := time.Since(began); took > time.Minute {
		t.Errorf("noticed after %s", took)
	}
	b.fault(t, relay.Faults{})
	await(t, "reconnection", b.publisher.Ready())
}

// TestRunEndsWhileStalled: neither an open nor a beginning conversation with a
// silent broker holds up the end.
func TestRunEndsWhileStalled(t *testing.T) {
	b := newBench(t)
	c := rabbit.NewConsumer(b.cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, f := range []face{b.publisher, c} {
		running.Go(func() { _ = f.Run(ctx) })
		await(t, "connection", f.Ready())
	}
	s, err := c.Slot(b.queue)
	if err != nil {
		t.Fatal(err)
	}
	b.fault(t, relay.Faults{Hole: relay.Down})
	receipt := b.publish(t, b.queue) // its lane waits for a declare
	dialing := rabbit.NewAdmin(b.cfg)
	running.Go(func() { _ = dialing.Run(ctx) })
	began := time.Now()
	cancel()
	running.Wait()
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("Run ended after %s", took)
	}
	resolves(t, receipt, taskqueue.ErrUnconfirmed)
	if _, err := s.Receive(t.Context()); !errors.Is(err, rabbit.ErrClosed) {
		t.Errorf("receive: got %v, want %v", err, rabbit.ErrClosed)
	}
}

// TestRefusals: a channel on which everything is refused is replaced and the queue keeps
// what it holds; only a queue that refuses everything for seconds is made anew.
func TestRefusals(t *testing.T) {
	b := newBench(t)
	start(t, b.publisher)
	resolves(t, b.publish(t, b.queue), nil)
	holds := func(want int) {
		t.Helper()
		until(t, "messages in the queue", func() bool {
			depth, err := b.admin.Depth(t.Context(), b.queue)
			return err == nil && depth.Ready == want
		})
	}
	holds(1)
	was := b.publisher.Channel(b.queue)
	swaps, held := 0, 1
	every := time.NewTicker(100 * time.Millisecond)
	defer every.Stop()
	for began := time.Now(); held > 0; {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("the queue was not made anew, %d other channels were opened", swaps)
		}
		b.publisher.Refuse(b.queue, <-every.C)
		if now := b.publisher.Channel(b.queue); now != nil && now != was {
			was = now
			swaps++
			depth, err := b.admin.Depth(t.Context(), b.queue)
			if err != nil {
				t.Fatal(err)
			}
			if held = depth.Ready; held == 0 && time.Since(began) < 4*time.Second {
				t.Errorf("the queue was made anew after %s", time.Since(began))
			}
		}
	}
	if swaps < 4 {
		t.Errorf("%d other channels were opened before the queue was made anew", swaps)
	}
	holds(0)
	resolves(t, b.publish(t, b.queue), nil)
	holds(1)
}

// TestBlocked: the broker's alarm, as the frames that tell of it.
func TestBlocked(t *testing.T) {
	b := newBench(t)
	start(t, b.publisher)
	resolves(t, b.publish(t, b.queue), nil)
	b.relay.Say(frame(60, "\x0alow memory"))
	until(t, "blocked", func() bool { _, since := b.publisher.State(); return !since.IsZero() })
	if _, err := b.publisher.Publish(t.Context(), b.queue, "id", nil); !errors.Is(err, taskqueue.ErrDisconnected) {
		t.Errorf("publish while blocked: got %v, want %v", err, taskqueue.ErrDisconnected)
	}
	if connected, _ := b.publisher.State(); !connected {
		t.Error("a blocked publisher is not connected")
	}
	b.relay.Say(frame(61, ""))
	until(t, "unblocked", func() bool { _, since := b.publisher.State(); return since.IsZero() })
	resolves(t, b.publish(t, b.queue), nil)
}

// frame is a method frame of AMQP class connection.
func frame(method uint16, arguments string) []byte {
	f := []byte{1, 0, 0}
	f = binary.BigEndian.AppendUint32(f, uint32(4+len(arguments)))
	f = binary.BigEndian.AppendUint16(f, 10)
	f = binary.BigEndian.AppendUint16(f, method)
	return append(append(f, arguments...), 0xCE)
}

// TestSecrets: a refused login is logged, once, without its password.
func TestSecrets(t *testing.T) {
	u, err := url.Parse(broker(t))
	if err != nil {
		t.Fatal("STATION_TEST_RABBITMQ_URL cannot be read")
	}
	u.User = url.UserPassword("guest", "hunter2")
	out := &syncBuffer{wrote: make(chan struct{}, 100)}
	p := rabbit.NewPublisher(rabbit.Config{URL: u.String(), Prefix: "test", Name: "secrets", Log: hclog.New(&hclog.LoggerOptions{Output: out, Level: hclog.Trace})})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = p.Run(ctx) })
	await(t, "log line", out.wrote)
	cancel()
	running.Wait()
	text := out.String()
	if !strings.Contains(text, "cannot connect") || strings.Contains(text, "hunter2") {
		t.Errorf("log: %s", text)
	}
}

type syncBuffer struct {
	mu    sync.Mutex
	b     bytes.Buffer
	wrote chan struct{}
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.wrote <- struct{}{} }()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
