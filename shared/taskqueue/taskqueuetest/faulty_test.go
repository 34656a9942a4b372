package taskqueuetest_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/shared/taskqueue/inproc"
	"github.com/tradingflow/weather-station/shared/taskqueue/taskqueuetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestFaultyOne strikes every message with one fault and looks at what the
// caller is told and what is stored.
func TestFaultyOne(t *testing.T) {
	cases := []struct {
		name     string
		faults   taskqueuetest.Faults
		publish  error // by Publish
		receipt  error // by the receipt
		stored   int
		delayed  bool
		counters taskqueuetest.Struck
	}{
		{name: "none", stored: 1},
		{name: "refuse", faults: taskqueuetest.Faults{Refuse: 1}, publish: taskqueue.ErrDisconnected, counters: taskqueuetest.Struck{Refused: 1}},
		{name: "drop", faults: taskqueuetest.Faults{Drop: 1}, receipt: taskqueue.ErrUnconfirmed, counters: taskqueuetest.Struck{Dropped: 1}},
		{name: "lie", faults: taskqueuetest.Faults{Lie: 1}, receipt: taskqueue.ErrUnconfirmed, stored: 1, counters: taskqueuetest.Struck{Lied: 1}},
		{name: "unroute", faults: taskqueuetest.Faults{Unroute: 1}, receipt: taskqueue.ErrUnroutable, counters: taskqueuetest.Struck{Unrouted: 1}},
		{name: "duplicate", faults: taskqueuetest.Faults{Duplicate: 1}, stored: 2, counters: taskqueuetest.Struck{Duplicated: 1}},
		{name: "delay", faults: taskqueuetest.Faults{Delay: 1}, stored: 1, delayed: true, counters: taskqueuetest.Struck{Delayed: 1}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			broker := inproc.New("p")
			if err := broker.Admin().Ensure(t.Context(), "q"); err != nil {
				t.Fatal(err)
			}
			f := taskqueuetest.NewFaulty(broker.Publisher(), 1, c.faults)
			defer f.Close()
			receipt, err := f.Publish(t.Context(), "q", "id", []byte("x"))
			if !errors.Is(err, c.publish) {
				t.Fatalf("publish: got %v, want %v", err, c.publish)
			}
			if err == nil {
				if c.delayed {
					select {
					case <-receipt.Done():
						t.Error("resolved before Release")
					default:
					}
					f.Release()
				}
				<-receipt.Done()
				if !errors.Is(receipt.Err(), c.receipt) {
					t.Errorf("receipt: got %v, want %v", receipt.Err(), c.receipt)
				}
			}
			depth, err := broker.Admin().Depth(t.Context(), "q")
			if err != nil || depth.Ready != c.stored {
				t.Errorf("stored: got %d, %v, want %d", depth.Ready, err, c.stored)
			}
			if diff := cmp.Diff(c.counters, f.Struck()); diff != "" {
				t.Errorf("counters (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFaultyCloseResolves(t *testing.T) {
	f := taskqueuetest.NewFaulty(inproc.New("p").Publisher(), 1, taskqueuetest.Faults{Delay: 1})
	receipt, err := f.Publish(t.Context(), "q", "id", nil)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	<-receipt.Done()
	if !errors.Is(receipt.Err(), taskqueue.ErrUnconfirmed) {
		t.Errorf("receipt: got %v, want %v", receipt.Err(), taskqueue.ErrUnconfirmed)
	}
}

// TestFaultySeed: one seed gives one history; all faults happen; another seed
// gives another.
func TestFaultySeed(t *testing.T) {
	history := func(seed uint64) []string {
		f := taskqueuetest.NewFaulty(inproc.New("p").Publisher(), seed, taskqueuetest.Faults{Refuse: 0.1, Drop: 0.1, Lie: 0.1, Unroute: 0.1, Duplicate: 0.1})
		defer f.Close()
		var told []string
		for i := range 200 {
			receipt, err := f.Publish(context.Background(), "q", strconv.Itoa(i), nil)
			if err == nil {
				<-receipt.Done()
				err = receipt.Err()
			}
			told = append(told, errText(err))
		}
		s := f.Struck()
		if s.Refused == 0 || s.Dropped == 0 || s.Lied == 0 || s.Unrouted == 0 || s.Duplicated == 0 {
			t.Errorf("seed %d: some fault never happens: %+v", seed, s)
		}
		return told
	}
	if diff := cmp.Diff(history(7), history(7)); diff != "" {
		t.Errorf("same seed, other history:\n%s", diff)
	}
	if cmp.Equal(history(7), history(8)) {
		t.Error("another seed gives the same history")
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
