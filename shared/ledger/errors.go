package ledger

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Refusals a caller decides by.
var (
	// ErrGone: there is no such flow or cycle (any more).
	ErrGone = errors.New("no such flow or cycle")
	// ErrPaused: the flow is paused.
	ErrPaused = errors.New("flow is paused")
	// ErrStale: another revision of the flow is active.
	ErrStale = errors.New("another revision of the flow is active")
	// ErrAccounted: the slot was accounted before.
	ErrAccounted = errors.New("slot is accounted already")
	// ErrForgotten: a slot that was accounted before is not any more, because Redis
	// went back in time; what lies between would be lost.
	ErrForgotten = errors.New("accounted slots were forgotten")
	// ErrBusy: a cycle of the flow runs and its overlap policy allows no other.
	ErrBusy = errors.New("a cycle of the flow is running")
	// ErrDeleting: the flow is being deleted.
	ErrDeleting = errors.New("flow is being deleted")
	// ErrNoPlan: the revision's plan is not in the ledger: write it, then
	// activate again.
	ErrNoPlan = errors.New("plan is not written")
	// ErrNotMine: the claim is not the caller's any more; its result is refused.
	ErrNotMine = errors.New("claim is not held any more")
	// ErrEnding: the cycle or component of a released claim is ending, so the
	// attempt has to be failed instead.
	ErrEnding = errors.New("cycle or component is ending")
	// ErrStarted: an at-most-once node that may have been started can't be handed
	// back.
	ErrStarted = errors.New("at-most-once node may have been started")
	// ErrTooLarge: the outputs of the cycle would pass their limit.
	ErrTooLarge = errors.New("outputs of the cycle are too large")
	// ErrSchema: the ledger was written by a version this build can't work with.
	ErrSchema = errors.New("ledger schema is not this build's")
	// ErrUnavailable: the server can't take the call now; nothing is known of
	// the call's effect, and it is right to repeat it.
	ErrUnavailable = errors.New("redis is unavailable")
)

// FencedError: a higher epoch has written. Whoever gets it leads no more.
type FencedError struct {
	Verb        string
	Own, Higher ids.Epoch
}

func (e *FencedError) Error() string {
	return fmt.Sprintf("ledger %s: fenced: epoch %d, the ledger has %d", e.Verb, e.Own, e.Higher)
}

// Fenced reports whether err is a refusal by epoch.
func Fenced(err error) bool {
	var f *FencedError
	return errors.As(err, &f)
}

// answers of a server that will be able to take the call later. They are error
// codes of the protocol, the first word of an error reply, not message texts.
var passing = map[string]bool{
	"OOM": true, "MISCONF": true, "READONLY": true, "LOADING": true, "NOREPLICAS": true,
	"MASTERDOWN": true, "CLUSTERDOWN": true, "TRYAGAIN": true, "BUSY": true,
	"UNBLOCKED": true, // a master that became a replica ends the reads that wait on it
}

// refused says that a script ended with an error and would do so again.
func refused(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return false
	}
	code, _, _ := strings.Cut(reply.Error(), " ")
	return !passing[code]
}

// classify marks the errors after which the same call should be made again.
func classify(err error) error {
	if redis.IsMaxClientsError(err) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	var reply redis.Error
	if errors.As(err, &reply) {
		code, _, _ := strings.Cut(reply.Error(), " ")
		if passing[code] {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return err
	}
	var netErr net.Error
	if errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) || errors.As(err, &netErr) || errors.Is(err, net.ErrClosed) || errors.Is(err, redis.ErrClosed) || isEOF(err) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}
