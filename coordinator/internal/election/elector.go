package election

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/coordinator/internal/presence"
)

// Causes with which the context of a leading function is cancelled
// (context.Cause).
var (
	// ErrDeposed says that the own key or lease is known to be gone.
	ErrDeposed = errors.New("leadership lost: own election key or lease is gone")
	// ErrResigned says that Resign or Transfer was called.
	ErrResigned = errors.New("leadership resigned")
	// ErrStopped says that the context given to Run ended.
	ErrStopped = errors.New("leadership ended: the process stops")
)

// steady is how long a term lasts before the pause after the next failure
// starts small again.
const steady = 10 * time.Second

// briefly is how long a candidacy lasts that is not followed by the next one at once
// when its key is gone.
const briefly = time.Second

// Elector is one candidate. Its methods may be called from any goroutine.
type Elector struct {
	cfg      Config
	keys     layout
	view     viewer
	instance string // names this process
	presence string // where it can be dialled, or ""

	mu      sync.Mutex
	running bool
	stands  *candidacy // nil while this process is not in the line
	reign   *reign     // nil while another leads
}

// reign is the current leadership of this process.
type reign struct {
	term   Term
	key    string
	resign chan struct{}
	once   sync.Once
	to     string        // instance that resigning is to name; "" = the next in line
	done   chan struct{} // closed when the key is released
}

// New checks the config and makes an elector. It reaches no server.
func New(cfg Config) (*Elector, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Elector{cfg: cfg, keys: layout{cfg.Prefix}, view: viewer{first: make(chan struct{})}, instance: cmp.Or(cfg.Instance, uuid.NewString())}
	switch {
	case cfg.Presence != nil:
		e.presence = cmp.Or(cfg.PresenceAddress, cfg.Presence.Addr().String())
	case cfg.Instance != "":
		e.presence = cfg.PresenceAddress
	}
	return e, nil
}

// Run stands for election for ever and calls lead each time it is elected. The
// context of lead is cancelled when leadership is lost (context.Cause says why),
// and Run waits for lead to return before it gives the key away or stands again.
// If lead returns by itself, its leadership ends and the error is logged. After
// failures Run pauses, for five seconds at most.
//
// When ctx ends, Run hands a leadership over or ends it, releases key and lease, and
// returns nil. It returns an error only when it runs already.
func (e *Elector) Run(ctx context.Context, lead func(ctx context.Context, term Term) error) error {
	e.mu.Lock()
	if e.running {
		e.mu.Unlock()
		return ErrRunning
	}
	e.running = true
	e.mu.Unlock()

	var observer sync.WaitGroup
	octx, stop := context.WithCancel(ctx)
	observer.Go(func() { e.observe(octx) })
	observer.Go(func() { e.vigil(octx) })
	if e.cfg.Presence != nil {
		observer.Go(func() { presence.Serve(octx, e.cfg.Presence, e.instance, e.cfg.Log) })
	}
	defer func() {
		stop()
		observer.Wait()
		e.mu.Lock()
		e.running = false
		e.mu.Unlock()
	}()

	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 100*time.Millisecond, 5*time.Second
	for ctx.Err() == nil {
		began := e.cfg.Now()
		err := e.candidacy(ctx, lead)
		if ctx.Err() != nil {
			break
		}
		if err == nil || e.cfg.Now().Sub(began) > steady {
			wait.Reset()
		}
		if errors.Is(err, errGone) { // passed over, perhaps: the line is not to be short for that
			e.cfg.Log.Info("place in the line is lost, standing again")
			if e.cfg.Now().Sub(began) < briefly {
				pause(ctx, wait.NextBackOff())
			}
		} else if err != nil {
			e.cfg.Log.Warn("candidacy ended", "error", err)
			pause(ctx, wait.NextBackOff())
		}
	}
	return nil
}

// candidacy stands once: from a fresh lease to its release. A nil error means
// that standing again at once is right.
func (e *Elector) candidacy(ctx context.Context, lead func(context.Context, Term) error) error {
	s, err := e.openSession(ctx)
	if err != nil {
		return err
	}
	// Renewals outlive ctx: a leader that winds up must still hold its key.
	base := context.WithoutCancel(ctx)
	kctx, stopKeep := context.WithCancel(base)
	var keeper sync.WaitGroup
	keeper.Go(func() { s.keep(kctx) })
	endKeep := func() { stopKeep(); keeper.Wait() }
	defer endKeep()

	c, err := e.stand(ctx, s)
	if err != nil {
		endKeep()
		s.revoke(base) // ends the key too, should it have been put
		return err
	}
	release := sync.OnceFunc(func() {
		endKeep()
		c.release(base)
	})
	defer release()

	wctx, cancel := context.WithCancel(ctx)
	var tie sync.WaitGroup
	tie.Go(func() {
		select {
		case <-s.gone:
		case <-wctx.Done():
		}
		cancel()
	})
	e.setStands(c)
	epoch, revision, err := c.win(wctx)
	e.setStands(nil)
	cancel()
	tie.Wait()
	if ctx.Err() != nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("wait for leadership: %w", errGone)
	}
	if err != nil {
		return err
	}
	term := Term{Epoch: epoch, Since: e.cfg.Now(), window: s.window}
	r := &reign{term: term, key: c.key, resign: make(chan struct{}), done: make(chan struct{})}
	defer close(r.done)
	defer release() // before done is closed, after lead has returned
	return e.rule(ctx, c, r, revision, lead)
}

// rule runs lead for one term and returns when lead has returned.
func (e *Elector) rule(ctx context.Context, c *candidacy, r *reign, revision int64, lead func(context.Context, Term) error) error {
	log := e.cfg.Log.With("epoch", int64(r.term.Epoch))
	base := context.WithoutCancel(ctx)
	gctx, stopGuard := context.WithCancel(base)
	defer stopGuard()
	lost := make(chan struct{})
	go func() {
		defer close(lost)
		c.guard(gctx, revision+1)
	}()
	// The term's flag goes off before lead hears of the end, so lead does not
	// hang on ctx itself.
	lctx, end := context.WithCancelCause(base)
	defer end(nil)
	returned := make(chan error, 1)
	c.s.leads.Store(true)
	e.setReign(r)
	log.Info("elected leader", "lease_ttl", c.s.ttl)
	go func() { returned <- lead(lctx, r.term) }()

	var (
		cause error
		err   error
		to    string
	)
	select {
	case err = <-returned:
		cause = errors.New("the leading function returned")
		returned <- err
	case <-lost:
		cause = ErrDeposed
	case <-c.s.gone:
		cause = ErrDeposed
	case <-r.resign:
		cause, to = ErrResigned, r.to
	case <-ctx.Done():
		cause = ErrStopped
	}
	c.s.window.close()
	c.s.leads.Store(false)
	e.setReign(nil)
	log.Info("leadership ends", "cause", cause)
	if errors.Is(cause, ErrResigned) || errors.Is(cause, ErrStopped) {
		c.handOver(base, to) // or else the key goes when lead has returned
	}
	end(cause)
	err = <-returned
	stopGuard()
	<-lost
	log.Info("leadership ended", "error", err)
	switch {
	case errors.Is(cause, ErrResigned), errors.Is(cause, ErrDeposed), errors.Is(cause, ErrStopped):
		return nil
	case err == nil:
		return errors.New("lead: returned while leading")
	}
	return fmt.Errorf("lead: %w", err)
}

func (e *Elector) setStands(c *candidacy) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stands = c
}

func (e *Elector) setReign(r *reign) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reign = r
}

// Leading returns the current term if this process leads.
func (e *Elector) Leading() (Term, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.reign == nil {
		return Term{}, false
	}
	return e.reign.term, true
}
