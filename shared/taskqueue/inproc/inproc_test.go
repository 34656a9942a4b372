package inproc_test

import (
	"errors"
	"runtime"
	"testing"

	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/shared/taskqueue/inproc"
	"github.com/tradingflow/weather-station/shared/taskqueue/taskqueuetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	taskqueuetest.Run(t, func(t *testing.T, prefix string) taskqueuetest.Broker {
		b := inproc.New(prefix)
		t.Cleanup(b.Close)
		return taskqueuetest.Broker{
			Publisher:  b.Publisher(),
			Consumer:   b.Consumer(),
			Admin:      b.Admin(),
			Disconnect: b.Disconnect,
		}
	})
}

// TestFair: slots that wait are served in the order in which they began to.
func TestFair(t *testing.T) {
	b := inproc.New("p")
	defer b.Close()
	const n = 4
	got := make(chan int, n)
	for i := range n {
		s, err := b.Consumer().Slot("q")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if _, err := s.Receive(t.Context()); err != nil {
				t.Errorf("receive: %v", err)
			}
			got <- i
		}()
		waitForConsumers(t, b, i+1)
	}
	for i := range n {
		if _, err := b.Publisher().Publish(t.Context(), "q", "id", nil); err != nil {
			t.Fatal(err)
		}
		if at := <-got; at != i {
			t.Fatalf("message %d went to slot %d", i, at)
		}
	}
}

// TestRestart: a broker that is restarted has lost all messages, in queues and in the
// hands of slots, and tells so; what is published from then on arrives.
func TestRestart(t *testing.T) {
	b := inproc.New("p")
	defer b.Close()
	p := b.Publisher()
	for range 3 {
		if _, err := p.Publish(t.Context(), "q", "id", []byte("old")); err != nil {
			t.Fatal(err)
		}
	}
	s, err := b.Consumer().Slot("q")
	if err != nil {
		t.Fatal(err)
	}
	old, err := s.Receive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	none, more := p.Losses()
	b.Restart()
	<-more
	lost, _ := p.Losses()
	if len(none) != 0 || lost["q"].IsZero() {
		t.Errorf("told as lost: %v before, %v after", none, lost)
	}
	if err := old.Ack(); !errors.Is(err, taskqueue.ErrStale) {
		t.Errorf("ack of a lost message: %v", err)
	}
	if _, err := p.Publish(t.Context(), "q", "id", []byte("new")); err != nil {
		t.Fatal(err)
	}
	d, err := s.Receive(t.Context())
	if err != nil || string(d.Body()) != "new" {
		t.Errorf("received %v, %v", d, err)
	}
}

func TestClose(t *testing.T) {
	b := inproc.New("p")
	s, err := b.Consumer().Slot("q")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := s.Receive(t.Context())
		ended <- err
	}()
	waitForConsumers(t, b, 1)
	b.Close()
	if err := <-ended; !errors.Is(err, inproc.ErrClosed) {
		t.Errorf("receive: got %v, want %v", err, inproc.ErrClosed)
	}
	if _, err := b.Consumer().Slot("q"); !errors.Is(err, inproc.ErrClosed) {
		t.Errorf("slot: got %v, want %v", err, inproc.ErrClosed)
	}
	if _, err := b.Publisher().Publish(t.Context(), "q", "id", nil); !errors.Is(err, taskqueue.ErrDisconnected) {
		t.Errorf("publish: got %v, want %v", err, taskqueue.ErrDisconnected)
	}
	if connected, _ := b.Publisher().State(); connected {
		t.Error("a closed broker is connected")
	}
}

// waitForConsumers waits until n slots of queue q are waiting.
func waitForConsumers(t *testing.T, b *inproc.Broker, n int) {
	t.Helper()
	for {
		d, err := b.Admin().Depth(t.Context(), "q")
		if err != nil {
			t.Fatal(err)
		}
		if d.Consumers == n {
			return
		}
		runtime.Gosched()
	}
}
