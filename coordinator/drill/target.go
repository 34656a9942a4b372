package drill

import (
	"context"
	"time"
)

// Target does a fault to a cluster and undoes it.
type Target interface {
	// Inject does the fault and returns once it is in effect. An error means that
	// it is not in effect.
	Inject(ctx context.Context, f Fault, n Names) (Evidence, error)
	// Heal brings back what Inject took away. It is called once after every
	// Inject, also after one that failed.
	Heal(ctx context.Context, f Fault, n Names) error
}

// Evidence is what a Target knows of a fault that it injected.
type Evidence struct {
	At    time.Time // when the fault took effect
	Proof string    // what shows it, for people; "" = look for proof in the API
}
