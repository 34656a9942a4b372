package election

import (
	"context"
	"fmt"
	"slices"
)

// Resign ends the current leadership in a planned way and returns when its key
// is released. This candidate then stands again at the end of the line; if it
// stands alone it is elected again. It returns ErrNotLeading, or the error of ctx
// (the leadership ends all the same).
func (e *Elector) Resign(ctx context.Context) error {
	r := e.reigning()
	if r == nil {
		return ErrNotLeading
	}
	return r.end(ctx, "")
}

func (e *Elector) reigning() *reign {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.reign
}

// end asks for the end, naming a successor, and waits for it.
func (r *reign) end(ctx context.Context, to string) error {
	r.once.Do(func() {
		r.to = to
		close(r.resign)
	})
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of the leadership: %w", ctx.Err())
	}
}

// Transfer is Resign on the condition that another candidate stands; else it
// returns ErrNoSuccessor and changes nothing.
func (e *Elector) Transfer(ctx context.Context) error { return e.HandTo(ctx, "") }

// HandTo is Transfer to the candidate of an instance, wherever it is in the line;
// ErrNoSuccessor when it does not stand. "" is the next in line.
func (e *Elector) HandTo(ctx context.Context, instance string) error {
	r := e.reigning()
	if r == nil {
		return ErrNotLeading
	}
	members, err := e.Members(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(members, func(m Candidate) bool { return m.Key != r.key && (instance == "" || m.Instance == instance) }) {
		return ErrNoSuccessor
	}
	return r.end(ctx, instance)
}

// Instance names this process in its candidacies.
func (e *Elector) Instance() string { return e.instance }
