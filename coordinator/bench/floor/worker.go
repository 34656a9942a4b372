package floor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

// prefetch is how many messages the broker sends ahead of their acks.
const prefetch = 200

const token = "t"

// held is a delivery in hand.
type held struct {
	tag   uint64
	id    string
	sleep time.Duration
}

type worker struct {
	cfg       Config
	ch        *amqp.Channel
	slots     chan struct{} // one element for each node that runs
	completed chan held
	acked     chan held
}

// Work takes nodes from the queue, runs them and reports them, until ctx ends.
// ready is called when it consumes.
func Work(ctx context.Context, cfg Config, ready func() error) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	conn, ch, err := cfg.connectRabbit()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := cfg.declare(ch); err != nil {
		return err
	}
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return fmt.Errorf("set prefetch: %w", err)
	}
	from, err := ch.Consume(cfg.queue(), "", false, false, false, false, nil)
	if err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	waiting := make(chan amqp.Delivery, prefetch)
	w := &worker{cfg: cfg, ch: ch, slots: make(chan struct{}, cfg.Concurrency), completed: make(chan held, prefetch), acked: make(chan held, prefetch)}
	g, ctx := errgroup.WithContext(ctx)
	for _, stage := range []func(context.Context, *redis.Client) error{
		func(ctx context.Context, rdb *redis.Client) error { return w.claim(ctx, rdb, waiting) },
		w.complete,
	} {
		rdb, err := cfg.connectRedis()
		if err != nil {
			return err
		}
		defer func() { _ = rdb.Close() }()
		if err := errors.Join(claim.Load(ctx, rdb).Err(), complete.Load(ctx, rdb).Err()); err != nil {
			return fmt.Errorf("load scripts: %w", err)
		}
		g.Go(func() error { return stage(ctx, rdb) })
	}
	g.Go(func() error { return hand(ctx, from, waiting) })
	g.Go(func() error { return w.ack(ctx) })
	if err := ready(); err != nil {
		return err
	}
	err = g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// hand lets deliveries wait where a stage can take all of them. The channel of the client
// library holds none: whoever asks it for what is there is told that nothing is, until the goroutine
// behind it has run again, and takes messages one by one.
func hand(ctx context.Context, from <-chan amqp.Delivery, to chan<- amqp.Delivery) error {
	for {
		select {
		case d, ok := <-from:
			if !ok {
				return errClosed
			}
			if !put(ctx, to, d) {
				return ctx.Err()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var errClosed = errors.New("rabbitmq closed the channel")

// claim is the first stage: as many deliveries as wait and as there are slots.
func (w *worker) claim(ctx context.Context, rdb *redis.Client, from <-chan amqp.Delivery) error {
	batch := make([]held, 0, atOnce)
	replies := make([]*redis.Cmd, 0, atOnce)
	for {
		batch, replies = batch[:0], replies[:0]
		pipe := rdb.Pipeline()
		for len(batch) < atOnce {
			if len(batch) == 0 {
				if !put(ctx, w.slots, struct{}{}) {
					return ctx.Err()
				}
			} else if !free(w.slots) {
				break
			}
			d, ok := next(ctx, from, len(batch) == 0)
			if !ok {
				<-w.slots
				break
			}
			t, ok := decode(d.Body)
			if !ok {
				return errors.New("a message is not of this run")
			}
			h := held{d.DeliveryTag, id(d.Body), t.sleep}
			batch = append(batch, h)
			replies = append(replies, claim.EvalSha(ctx, pipe, []string{w.cfg.states()}, h.id, token, 1))
		}
		if len(batch) == 0 {
			return ctx.Err()
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return fmt.Errorf("claim: %w", err)
		}
		for i, r := range replies {
			if n, err := r.Int(); err != nil || n != 1 {
				return fmt.Errorf("claim: %w", errors.Join(err, errUnexpected))
			}
			w.run(ctx, batch[i])
		}
	}
}

// run holds the slot as long as the node sleeps, and hands it on.
func (w *worker) run(ctx context.Context, h held) {
	if h.sleep <= 0 {
		<-w.slots
		put(ctx, w.completed, h)
		return
	}
	time.AfterFunc(h.sleep, func() {
		<-w.slots
		put(ctx, w.completed, h)
	})
}

// free takes a slot if one is free.
func free(slots chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		return true
	default:
		return false
	}
}

// next returns a delivery, if there is one; it waits for one if asked to, and until ctx ends.
func next(ctx context.Context, from <-chan amqp.Delivery, wait bool) (d amqp.Delivery, ok bool) {
	if !wait {
		select {
		case d = <-from:
			return d, true
		default:
			return d, false
		}
	}
	select {
	case d = <-from:
		return d, true
	case <-ctx.Done():
		return d, false
	}
}

func (w *worker) complete(ctx context.Context, rdb *redis.Client) error {
	batch := make([]held, 0, atOnce)
	replies := make([]*redis.Cmd, 0, atOnce)
	for {
		if batch = take(ctx, w.completed, batch); len(batch) == 0 {
			return ctx.Err()
		}
		pipe := rdb.Pipeline()
		replies = replies[:0]
		for _, h := range batch {
			replies = append(replies, complete.EvalSha(ctx, pipe, []string{w.cfg.states(), w.cfg.events()}, h.id, token))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return fmt.Errorf("complete: %w", err)
		}
		for i, r := range replies {
			if n, err := r.Int(); err != nil || n != 1 {
				return fmt.Errorf("complete: %w", errors.Join(err, errUnexpected))
			}
			put(ctx, w.acked, batch[i])
		}
	}
}

// ack acks what has ended: all up to the lowest that has not in one frame, the
// others one by one.
func (w *worker) ack(ctx context.Context) error {
	batch := make([]held, 0, atOnce)
	var below uint64 // every tag up to it is acked
	early := map[uint64]bool{}
	for {
		if batch = take(ctx, w.acked, batch); len(batch) == 0 {
			return ctx.Err()
		}
		slices.SortFunc(batch, func(a, b held) int { return int(int64(a.tag) - int64(b.tag)) })
		whole, last := below, uint64(0)
		for _, h := range batch {
			for early[whole+1] {
				delete(early, whole+1)
				whole++
			}
			if h.tag == whole+1 {
				whole, last = h.tag, h.tag
				continue
			}
			early[h.tag] = true
			if err := w.ch.Ack(h.tag, false); err != nil {
				return fmt.Errorf("ack: %w", err)
			}
		}
		if last > 0 { // not the tag of one that is acked already: the broker knows it no more
			if err := w.ch.Ack(last, true); err != nil {
				return fmt.Errorf("ack: %w", err)
			}
		}
		below = whole
	}
}
