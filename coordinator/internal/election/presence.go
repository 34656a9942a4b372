package election

import (
	"context"
	"sync"
	"time"

	"github.com/tradingflow/weather-station/coordinator/internal/presence"
)

// vigil holds a connection to every candidate ahead in the line, so that this
// one learns of a death at once. It ends with ctx.
func (e *Elector) vigil(ctx context.Context) {
	views, unsubscribe := e.Watch()
	defer unsubscribe()
	var open sync.WaitGroup
	defer open.Wait()
	attended := map[string]context.CancelFunc{}
	defer func() {
		for _, cancel := range attended {
			cancel()
		}
	}()
	for {
		var view View
		select {
		case view = <-views:
		case <-ctx.Done():
			return
		}
		ahead := e.ahead(view)
		for key, cancel := range attended {
			if _, still := ahead[key]; !still {
				cancel()
				delete(attended, key)
			}
		}
		for key, c := range ahead {
			if attended[key] == nil {
				actx, cancel := context.WithCancel(ctx)
				attended[key] = cancel
				open.Go(func() { e.attend(actx, c) })
			}
		}
	}
}

// ahead returns the candidates before this one that can be dialled, by key.
func (e *Elector) ahead(v View) map[string]Candidate {
	out := map[string]Candidate{}
	for _, c := range v.Members {
		if c.Instance == e.instance {
			return out
		}
		if c.Presence != "" && c.Instance != "" {
			out[c.Key] = c
		}
	}
	return map[string]Candidate{} // not in the line: nothing to wait for
}

// attend holds a connection to one candidate until ctx ends, and deletes the
// candidate's key on proof of its death.
func (e *Elector) attend(ctx context.Context, c Candidate) {
	log := e.cfg.Log.With("candidate", c.ID)
	if presence.Attend(ctx, c.Instance, presence.TCP(c.Presence, c.Instance), func() { log.Debug("connection to a candidate broke") }) {
		log.Debug("candidate is proven gone")
		e.bury(ctx, c)
	}
}

// politeness is how long one that is not next in line leaves a dead one to the
// next, who can delete its key and take its place in one step.
const politeness = 30 * time.Millisecond

// bury deletes a dead candidate's key, trying until it is known to be gone.
// It compares the create revision, so it can hit only the candidacy that was
// seen dead.
func (e *Elector) bury(ctx context.Context, c Candidate) {
	next := e.next(c)
	if next == nil {
		pause(ctx, politeness)
	}
	for unanswered := false; ctx.Err() == nil; unanswered = true {
		tctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		var deleted bool
		var err error
		if next != nil {
			deleted, err = next.succeed(tctx, c)
		}
		if !deleted && err == nil {
			deleted, err = e.deleteKey(tctx, c.Key, c.Revision)
		}
		cancel()
		if err == nil {
			switch {
			case deleted:
				e.cfg.Log.Warn("deleted the key of a dead coordinator", "dead", c.ID, "presence", c.Presence)
			case unanswered: // and maybe done by the call that had no answer
				e.cfg.Log.Warn("the key of a dead coordinator is gone", "dead", c.ID, "presence", c.Presence)
			}
			return
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// next returns this process's candidacy if only the given candidate is ahead of
// it. A view that shows the own key shows all that are ahead: none can join there.
func (e *Elector) next(c Candidate) *candidacy {
	e.mu.Lock()
	own := e.stands
	e.mu.Unlock()
	if own == nil {
		return nil
	}
	e.view.mu.Lock()
	defer e.view.mu.Unlock()
	m := e.view.now.Members
	if len(m) < 2 || m[0].Key != c.Key || m[0].Revision != c.Revision || m[1].Key != own.key || m[1].Revision != own.rev {
		return nil
	}
	return own
}
