package process

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
)

// recorder notes what happens in which order.
type recorder struct {
	mu     sync.Mutex
	events []string
}

func (r *recorder) note(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, s)
}

func (r *recorder) index(s string) int { return slices.Index(r.events, s) }

// until is a service that works until its context ends.
func (r *recorder) until(name string, result error) Service {
	ready := make(chan struct{})
	return Service{Name: name, Ready: ready, Run: func(ctx context.Context) error {
		r.note(name + " starts")
		close(ready)
		<-ctx.Done()
		r.note(name + " stops")
		return result
	}}
}

func TestGroupStopsInReverse(t *testing.T) {
	var r recorder
	ctx, cancel := context.WithCancel(context.Background())
	last := r.until("c", context.Canceled)
	g := NewGroup(nil, []Service{r.until("a", nil)}, []Service{r.until("b1", nil), r.until("b2", nil)}, []Service{last})
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	receive(t, last.Ready, "the last stage is ready")
	cancel()
	if err := receive(t, ended, "the group ends"); err != nil {
		t.Errorf("Run: %v", err)
	}
	for _, pair := range [][2]string{
		{"a starts", "b1 starts"}, {"a starts", "b2 starts"}, {"b1 starts", "c starts"}, {"b2 starts", "c starts"},
		{"c stops", "b1 stops"}, {"c stops", "b2 stops"}, {"b1 stops", "a stops"}, {"b2 stops", "a stops"},
	} {
		if i, j := r.index(pair[0]), r.index(pair[1]); i < 0 || j < 0 || i > j {
			t.Errorf("%q is not before %q in %v", pair[0], pair[1], r.events)
		}
	}
}

func TestGroupFirstExitStopsAll(t *testing.T) {
	boom, later := errors.New("boom"), errors.New("later")
	for _, tt := range []struct {
		name   string
		result error
		want   error
	}{{"failure", boom, boom}, {"silent end", nil, ErrEnded}} {
		t.Run(tt.name, func(t *testing.T) {
			var r recorder
			falls := Service{Name: "falls", Run: func(context.Context) error { return tt.result }}
			err := NewGroup(nil, []Service{r.until("a", later)}, []Service{falls, r.until("b", nil)}).Run(context.Background())
			var se *ServiceError
			if !errors.As(err, &se) || se.Service != "falls" || !errors.Is(err, tt.want) {
				t.Errorf("Run: %v", err)
			}
			if r.index("a stops") < 0 {
				t.Errorf("events are %v", r.events)
			}
		})
	}
}

func TestGroupFailureWhileStarting(t *testing.T) {
	var r recorder
	boom := errors.New("boom")
	never := Service{Name: "never ready", Ready: make(chan struct{}), Run: func(context.Context) error { return boom }}
	err := NewGroup(nil, []Service{r.until("a", nil)}, []Service{never}, []Service{r.until("c", nil)}).Run(context.Background())
	if !errors.Is(err, boom) {
		t.Errorf("Run: %v", err)
	}
	if r.index("c starts") >= 0 || r.index("a stops") < 0 {
		t.Errorf("events are %v", r.events)
	}
}

func TestGroupFailureWhileStopping(t *testing.T) {
	var r recorder
	boom := errors.New("boom")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := NewGroup(nil, []Service{r.until("a", boom)}).Run(ctx)
	var se *ServiceError
	if !errors.As(err, &se) || se.Service != "a" || !errors.Is(err, boom) {
		t.Errorf("Run: %v", err)
	}
	if err := NewGroup(nil).Run(ctx); err != nil {
		t.Errorf("empty group: %v", err)
	}
}
