package floor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/tradingflow/weather-station/coordinator/bench/shape"
)

// Driver offers nodes and counts what has ended. One goroutine uses it.
type Driver struct {
	cfg           Config
	conn          *amqp.Connection
	ch            *amqp.Channel
	confirms      <-chan amqp.Confirmation
	reads, writes *redis.Client
	last          string // id of the newest event that was read
}

// patience is how long nothing may happen before a run is given up.
const patience = 20 * time.Second

// NewDriver connects.
func NewDriver(ctx context.Context, cfg Config) (d *Driver, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	d = &Driver{cfg: cfg, last: "0"}
	defer func() {
		if err != nil {
			d.disconnect()
		}
	}()
	if d.conn, d.ch, err = cfg.connectRabbit(); err != nil {
		return nil, err
	}
	if err := cfg.declare(d.ch); err != nil {
		return nil, err
	}
	if err := d.ch.Confirm(false); err != nil {
		return nil, fmt.Errorf("ask for confirms: %w", err)
	}
	d.confirms = d.ch.NotifyPublish(make(chan amqp.Confirmation, 64*1024))
	if d.reads, err = cfg.connectRedis(); err != nil {
		return nil, err
	}
	if d.writes, err = cfg.connectRedis(); err != nil {
		return nil, err
	}
	if err := start.Load(ctx, d.writes).Err(); err != nil {
		return nil, fmt.Errorf("load script: %w", err)
	}
	return d, nil
}

func (d *Driver) disconnect() {
	for _, c := range []*redis.Client{d.reads, d.writes} {
		if c != nil {
			_ = c.Close()
		}
	}
	if d.conn != nil {
		_ = d.conn.Close()
	}
}

// Close removes what the driver has made on the servers.
func (d *Driver) Close(ctx context.Context) error {
	_, qerr := d.ch.QueueDelete(d.cfg.queue(), false, false, false)
	err := errors.Join(qerr, d.writes.Del(ctx, d.cfg.events(), d.cfg.states()).Err())
	d.disconnect()
	if err != nil {
		return fmt.Errorf("remove what the floor has left: %w", err)
	}
	return nil
}

// run is one run of a job.
type run struct {
	*Driver
	job     shape.Job
	degrees []int
	cycles  []cycle // of all flows: cycle c of flow f is c*Flows + f
	open    int     // cycles that have not ended
	sent    int     // messages
	gone    chan string
	out     shape.Sample
}

type cycle struct {
	waits []int // predecessors of each node that have not ended
	left  int   // nodes that have not ended
	began time.Time
	ready []time.Time // when each node was offered
}

// Run runs a job to its end.
func (d *Driver) Run(ctx context.Context, job shape.Job) (shape.Sample, error) {
	pipe := d.writes.Pipeline()
	pipe.Del(ctx, d.cfg.states(), d.cfg.events())
	pipe.HSet(ctx, d.cfg.states(), "epoch", 1)
	pipe.Expire(ctx, d.cfg.states(), time.Hour)
	if _, err := pipe.Exec(ctx); err != nil {
		return shape.Sample{}, fmt.Errorf("prepare: %w", err)
	}
	d.last = "0"
	r := &run{Driver: d, job: job, degrees: job.Shape.Degrees(), cycles: make([]cycle, job.Flows*job.Cycles), open: job.Flows * job.Cycles,
		gone: make(chan string, 64*1024)}
	r.out.Nodes = job.Nodes()
	if r.out.Nodes == 0 {
		return shape.Sample{}, errors.New("the job has no nodes")
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.forget(ctx) })
	g.Go(func() error {
		defer close(r.gone)
		return r.drive(ctx)
	})
	if err := g.Wait(); err != nil {
		return shape.Sample{}, err
	}
	return r.out, nil
}

// drive offers, reads what has ended, and offers what follows from it.
func (r *run) drive(ctx context.Context) error {
	began, due := time.Now(), make(chan int, 1)
	if r.job.Every == 0 {
		for f := range r.job.Flows {
			if err := r.begin(ctx, f); err != nil {
				return err
			}
		}
	}
	events := make(chan []redis.XMessage, 16)
	g, ctx := errgroup.WithContext(ctx)
	readCtx, stopReading := context.WithCancel(ctx)
	g.Go(func() error { return r.read(readCtx, events) })
	if r.job.Every > 0 {
		g.Go(func() error { return r.tick(ctx, due) })
	}
	g.Go(func() error {
		defer stopReading()
		idle := time.NewTimer(patience + r.job.Every)
		defer idle.Stop()
		for r.open > 0 {
			select {
			case c := <-due:
				if err := r.begin(ctx, c); err != nil {
					return err
				}
			case page := <-events:
				for _, m := range page {
					if err := r.ended(ctx, m); err != nil {
						return err
					}
				}
			case <-idle.C:
				return fmt.Errorf("nothing has ended for %s; %d cycles are open", patience+r.job.Every, r.open)
			case <-ctx.Done():
				return ctx.Err()
			}
			idle.Reset(patience + r.job.Every)
		}
		if err := r.settle(ctx); err != nil {
			return err
		}
		r.out.Took = time.Since(began)
		stopReading()
		return r.writes.XAdd(ctx, &redis.XAddArgs{Stream: r.cfg.events(), Values: []string{"n", ""}}).Err() // wakes the reader
	})
	return g.Wait()
}

// read hands on the events.
func (r *run) read(ctx context.Context, to chan<- []redis.XMessage) error {
	for {
		streams, err := r.reads.XRead(ctx, &redis.XReadArgs{Streams: []string{r.cfg.events(), r.last}, Count: 1000, Block: time.Second}).Result()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, redis.Nil):
			continue
		case err != nil:
			return fmt.Errorf("read events: %w", err)
		}
		page := streams[0].Messages
		r.last = page[len(page)-1].ID
		if !put(ctx, to, page) {
			return nil
		}
	}
}

// begin offers the first nodes of a cycle.
func (r *run) begin(ctx context.Context, c int) error {
	k := &r.cycles[c]
	k.waits, k.left, k.began = append([]int(nil), r.degrees...), len(r.degrees), time.Now()
	k.ready = make([]time.Time, len(r.degrees))
	for n, degree := range r.degrees {
		if degree == 0 {
			if err := r.offer(ctx, c, n); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) offer(ctx context.Context, c, n int) error {
	r.cycles[c].ready[n] = time.Now()
	body := task{uint32(c), uint32(n), r.job.Shape.Sleep}.encode()
	if err := r.ch.PublishWithContext(ctx, "", r.cfg.queue(), false, false, amqp.Publishing{DeliveryMode: r.cfg.deliveryMode(), Body: body}); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	r.sent++
	return nil
}

// ended counts a node and offers what waited for it alone.
func (r *run) ended(ctx context.Context, m redis.XMessage) error {
	name, _ := m.Values["n"].(string)
	if len(name) != 8 {
		return errUnexpected
	}
	c, n := int(binary.BigEndian.Uint32([]byte(name))), int(binary.BigEndian.Uint32([]byte(name[4:])))
	if c >= len(r.cycles) || n >= len(r.cycles[c].waits) {
		return errUnexpected
	}
	k := &r.cycles[c]
	r.out.Hops = append(r.out.Hops, time.Since(k.ready[n]))
	for _, s := range r.job.Shape.Next[n] {
		if k.waits[s]--; k.waits[s] == 0 {
			if err := r.offer(ctx, c, s); err != nil {
				return err
			}
		}
	}
	if k.left--; k.left == 0 {
		r.out.Cycles = append(r.out.Cycles, time.Since(k.began))
		k.waits, k.ready = nil, nil
		r.open--
		if following := c + r.job.Flows; r.job.Every == 0 && following < len(r.cycles) {
			if err := r.begin(ctx, following); err != nil {
				return err
			}
		}
	}
	if !put(ctx, r.gone, m.ID) {
		return ctx.Err()
	}
	return nil
}

// settle waits until every message is confirmed.
func (r *run) settle(ctx context.Context) error {
	lost := time.NewTimer(patience)
	defer lost.Stop()
	for range r.sent {
		select {
		case c, ok := <-r.confirms:
			if !ok || !c.Ack {
				return errors.New("rabbitmq refused a message")
			}
		case <-lost.C:
			return errors.New("rabbitmq does not confirm")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// forget removes events that were acted on.
func (r *run) forget(ctx context.Context) error {
	buf := make([]string, 0, atOnce)
	for {
		if buf = take(ctx, r.gone, buf); len(buf) == 0 {
			return nil
		}
		if err := r.writes.XDel(ctx, r.cfg.events(), buf...).Err(); err != nil {
			return fmt.Errorf("remove events: %w", err)
		}
	}
}

// tick starts the cycles at their slots, those of one interval evenly spread over
// it, and tells how late each was by the clock of Redis.
func (r *run) tick(ctx context.Context, due chan<- int) error {
	now, err := r.writes.Time(ctx).Result()
	if err != nil {
		return fmt.Errorf("read time: %w", err)
	}
	began, ahead := time.Now(), 50*time.Millisecond
	gap := r.job.Every / time.Duration(r.job.Flows)
	for c := 0; c < len(r.cycles); {
		at := ahead + time.Duration(c)*gap
		wait := time.NewTimer(at - time.Since(began))
		select {
		case <-wait.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		pipe := r.writes.Pipeline()
		var late []*redis.Cmd
		first := c // cycles are numbered as they are due
		for passed := time.Since(began); c < len(r.cycles) && len(late) < atOnce && ahead+time.Duration(c)*gap <= passed; c++ {
			slot := now.Add(ahead + time.Duration(c)*gap)
			late = append(late, start.EvalSha(ctx, pipe, []string{r.cfg.states()}, fmt.Sprint("c", c), slot.UnixMicro()))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return fmt.Errorf("start: %w", err)
		}
		for i, l := range late {
			us, err := l.Int64()
			if err != nil {
				return fmt.Errorf("start: %w", err)
			}
			r.out.Late = append(r.out.Late, time.Duration(us)*time.Microsecond)
			if !put(ctx, due, first+i) {
				return ctx.Err()
			}
		}
	}
	return nil
}
