package intake

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// Ahead lets more messages be here than there are places.
type Ahead interface {
	// Depth tells how many messages of a queue no worker has.
	Depth(ctx context.Context, queue string) (taskqueue.Depth, error)
	// Spare says for how many slots of a queue no message is wanted.
	Spare(queue string, n int)
}

const (
	look     = 50 * time.Millisecond  // between two questions
	answerIn = time.Second            // a question without an answer by then says nothing
	lull     = 5                      // looks in a row that found nothing waiting
	calm     = time.Second            // until messages may wait again after one did in vain
	haste    = 100 * time.Millisecond // how long what came to wait for a place does: a message, or a claim in line
)

// lookout decides when messages may wait here for a place, as many as there are places.
type lookout struct {
	ahead  Ahead
	queue  string
	places int
	deep   func() bool // tells whether more tasks wait here than there are places
	log    hclog.Logger

	brisk chan struct{} // a brisk round has ended; holds one
	late  chan struct{} // a message waited for a place in vain; holds one
	hasty atomic.Bool   // messages may wait here, or might just now
}

func newLookout(a Ahead, queue string, places int, deep func() bool, log hclog.Logger) *lookout {
	a.Spare(queue, places)
	return &lookout{ahead: a, queue: queue, places: places, deep: deep, log: log, brisk: make(chan struct{}, 1), late: make(chan struct{}, 1)}
}

// patience is how long a message waits for a place that came now.
func (l *lookout) patience() time.Duration {
	if l != nil && l.hasty.Load() {
		return haste
	}
	return patience
}

// waited notes that a message waited for a place in vain.
func (l *lookout) waited() {
	if l != nil {
		signal(l.late)
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run looks out until ctx ends. It asks nothing unless rounds are brisk, and then no more
// often than once in a look.
func (l *lookout) run(ctx context.Context) {
	for pause(ctx, look, nil) {
		l.hasty.Store(false)
		select {
		case <-l.brisk:
		case <-ctx.Done():
			return
		}
		if l.deep() || !l.backlog(ctx) {
			continue
		}
		select {
		case <-l.late: // of before
		default:
		}
		l.set(true)
		vain := l.stay(ctx)
		l.set(false)
		if vain {
			pause(ctx, calm, nil)
		}
	}
}

// stay returns when messages had better not wait here any more, and whether one did so in vain.
func (l *lookout) stay(ctx context.Context) (vain bool) {
	for none := 0; none < lull; {
		if !pause(ctx, look, l.late) {
			return true
		}
		if l.deep() {
			return false
		}
		brisk := false
		select {
		case <-l.brisk:
			brisk = true
		default:
		}
		if none++; brisk && l.backlog(ctx) {
			none = 0
		}
	}
	return false
}

func (l *lookout) set(open bool) {
	if open {
		l.hasty.Store(true)
		l.ahead.Spare(l.queue, 0)
	} else {
		l.ahead.Spare(l.queue, l.places)
	}
	l.log.Debug("messages may wait here for a place", "may", open)
}

// backlog tells whether messages wait that no worker has.
func (l *lookout) backlog(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	d, err := l.ahead.Depth(ctx, l.queue)
	return err == nil && d.Ready > 0
}

// pause waits; false when ctx or over came first.
func pause(ctx context.Context, d time.Duration, over <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-over:
	case <-ctx.Done():
	}
	return false
}
