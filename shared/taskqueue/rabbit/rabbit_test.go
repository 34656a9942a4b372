package rabbit_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/shared/relay"
	"github.com/tradingflow/weather-station/shared/taskqueue/rabbit"
	"github.com/tradingflow/weather-station/shared/taskqueue/taskqueuetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broker returns the URL of the RabbitMQ to test with.
func broker(t testing.TB) string {
	t.Helper()
	address := os.Getenv("STATION_TEST_RABBITMQ_URL")
	if address == "" {
		const message = "STATION_TEST_RABBITMQ_URL is not set: `make test` starts a RabbitMQ and sets it"
		if os.Getenv("STATION_TEST_REQUIRE") == "1" {
			t.Fatal(message)
		}
		t.Skip(message)
	}
	return address
}

// through returns address by way of a relay.
func through(t testing.TB, address string) (string, *relay.Relay) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal("STATION_TEST_RABBITMQ_URL cannot be read")
	}
	between, err := relay.Listen(relay.Options{Target: u.Host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(between.Close)
	u.Host = between.Addr()
	return u.String(), between
}

// face is what the three have in common.
type face interface {
	Run(context.Context) error
	Ready() <-chan struct{}
	State() (bool, time.Time)
}

// start runs faces until the test ends, and waits until they are connected.
func start(t testing.TB, faces ...face) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, f := range faces {
		running.Go(func() {
			if err := f.Run(ctx); err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
	t.Cleanup(func() { cancel(); running.Wait() })
	for _, f := range faces {
		await(t, "connection", f.Ready())
	}
}

func await(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: nothing after 30 s", what)
	}
}

// until polls condition.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(30 * time.Second)
	for !condition() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%s: still not so after 30 s", what)
		}
	}
}

// lost waits until faces have noticed a cut and are connected again; was holds
// what Ready returned before.
func lost(t testing.TB, faces []face, was []<-chan struct{}) {
	t.Helper()
	for i, f := range faces {
		until(t, "loss noticed", func() bool { return f.Ready() != was[i] })
		await(t, "reconnection", f.Ready())
	}
}

func factory(kind string) taskqueuetest.Factory {
	return func(t *testing.T, prefix string) taskqueuetest.Broker {
		address, between := through(t, broker(t))
		cfg := rabbit.Config{URL: address, Prefix: prefix, Name: "conformance", QueueType: kind, Log: hclog.New(&hclog.LoggerOptions{Output: t.Output(), Level: hclog.Debug})}
		p, c, a := rabbit.NewPublisher(cfg), rabbit.NewConsumer(cfg), rabbit.NewAdmin(cfg)
		faces := []face{p, c, a}
		start(t, faces...)
		return taskqueuetest.Broker{Publisher: p, Consumer: c, Admin: a, Disconnect: func() {
			var was []<-chan struct{}
			for _, f := range faces {
				was = append(was, f.Ready())
			}
			between.Reset()
			lost(t, faces, was)
		}}
	}
}

func TestContractQuorum(t *testing.T)    { taskqueuetest.Run(t, factory(rabbit.Quorum)) }
func TestContractClassic(t *testing.T)   { taskqueuetest.Run(t, factory(rabbit.Classic)) }
func TestContractTransient(t *testing.T) { taskqueuetest.Run(t, factory(rabbit.Transient)) }

func TestBadSettings(t *testing.T) {
	cfg := rabbit.Config{URL: "amqp://guest:s3cret%zz@host:abc/", QueueType: "stream", PoolTypes: map[string]string{"live": "mirrored", "a b": rabbit.Quorum}}
	err := rabbit.NewPublisher(cfg).Run(context.Background())
	if err == nil {
		t.Fatal("bad settings are taken")
	}
	for _, want := range []string{"URL", "Prefix", "QueueType", "live", "a b"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not name %s: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error shows the password: %v", err)
	}
	several := rabbit.Config{URL: "amqp://u:a,b@h:1/,amqps://h:2/,amqp://h:x/", Prefix: "p"}
	if err := several.Validate(); err == nil || !strings.Contains(err.Error(), "address 3 ") || strings.Contains(err.Error(), "address 2") {
		t.Errorf("of three addresses the last one is wrong, got %v", err)
	}
	c := rabbit.NewConsumer(cfg)
	if err := c.Run(context.Background()); err == nil {
		t.Error("bad settings are taken")
	}
	if _, err := c.Slot("q"); !errors.Is(err, rabbit.ErrClosed) {
		t.Errorf("slot of an ended consumer: got %v, want %v", err, rabbit.ErrClosed)
	}
}
