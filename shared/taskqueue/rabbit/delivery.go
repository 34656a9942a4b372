package rabbit

import (
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tradingflow/weather-station/shared/failpoint"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// errEnded is returned by the second Ack, Park or Requeue of a delivery.
var errEnded = errors.New("delivery has ended already")

// attachment is a slot's channel in one generation. Only the slot's user calls
// consume and pause.
type attachment struct {
	channel *amqp.Channel
	queue   string
	tag     string
	stale   atomic.Bool // the channel is lost, or given up

	waits atomic.Int64  // since when a Receive waits, as the clock said; 0: none does; or givenUp
	old   chan struct{} // closed when the channel is given up for a new one

	consumptions int
	deliveries   <-chan amqp.Delivery // nil while not consuming
}

// consume starts consuming, unless it does, and returns where messages arrive;
// nil when the channel is closed. It does not wait for the broker, which closes
// the channel when it refuses.
func (a *attachment) consume() <-chan amqp.Delivery {
	if a.deliveries == nil {
		a.consumptions++
		deliveries, err := a.channel.Consume(a.queue, a.consumer(), false, false, false, true, nil)
		if err != nil {
			return nil
		}
		a.deliveries = deliveries
	}
	return a.deliveries
}

// pause leaves consumption, without waiting for the broker: while the slot's one
// message is not acked no other can arrive, and the broker handles an ack sent
// after this one later. An error means a closed channel, which the ack notices.
func (a *attachment) pause() {
	if a.deliveries != nil {
		a.deliveries = nil
		_ = a.channel.Cancel(a.consumer(), true)
	}
}

// givenUp in the place of a wait says that nothing is received on the channel any more.
const givenUp = -1

// begin notes that a Receive waits.
func (a *attachment) begin() { a.waits.CompareAndSwap(0, time.Now().UnixNano()) }

// finish notes that it does no more; false when the channel has been given up meanwhile.
func (a *attachment) finish() bool {
	since := a.waits.Load()
	return since != givenUp && a.waits.CompareAndSwap(since, 0)
}

// renew gives the channel up for a new one, if that wait still lasts.
func (a *attachment) renew(since int64) {
	if a.waits.CompareAndSwap(since, givenUp) {
		close(a.old)
	}
}

// consumer is the consumer's tag: a new one each time, so that the broker never
// takes a new consumer for one that it is still removing.
func (a *attachment) consumer() string { return a.tag + "-" + strconv.Itoa(a.consumptions) }

// delivery is a taskqueue.Delivery.
type delivery struct {
	from    *attachment
	message amqp.Delivery
	ended   atomic.Bool
}

func (d *delivery) Body() []byte      { return d.message.Body }
func (d *delivery) Redelivered() bool { return d.message.Redelivered }

func (d *delivery) Ack() error {
	failpoint.Before("ack")
	err := d.end(func(ch *amqp.Channel, tag uint64) error { return ch.Ack(tag, false) })
	failpoint.After("ack")
	return err
}

func (d *delivery) Park() error {
	return d.end(func(ch *amqp.Channel, tag uint64) error { return ch.Reject(tag, false) })
}

// Requeue uses nack: newer brokers count a reject, but not a nack, against the
// delivery limit.
func (d *delivery) Requeue() error {
	return d.end(func(ch *amqp.Channel, tag uint64) error { return ch.Nack(tag, false, true) })
}

func (d *delivery) end(send func(*amqp.Channel, uint64) error) error {
	if !d.ended.CompareAndSwap(false, true) {
		return errEnded
	}
	if d.from.stale.Load() || d.from.channel.IsClosed() {
		return taskqueue.ErrStale
	}
	if err := send(d.from.channel, d.message.DeliveryTag); err != nil {
		return taskqueue.ErrStale // a channel that cannot be written to is lost
	}
	return nil
}
