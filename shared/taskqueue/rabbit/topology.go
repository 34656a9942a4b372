package rabbit

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// deliveryLimit is how often a quorum queue hands out one message before it
// moves it to the parking queue.
const deliveryLimit = 1000

// errHomeless: a durable classic queue lives on one node of a cluster. While that is
// down, the queue can be neither used nor deleted nor declared anew on another one.
var errHomeless = errors.New("the broker node that holds the queue is down: start it, or give the queue up by rabbitmqctl forget_cluster_node")

// found is what a declaration met.
type found struct {
	messages int  // that are ready
	fresh    bool // it was not there
	other    bool // it has another type, or other arguments, and keeps them
}

// arguments of a queue as it is to be.
func (c Config) arguments(queue string) amqp.Table {
	kind := c.kind(queue)
	args := amqp.Table{amqp.QueueTypeArg: Classic, amqp.QueueOverflowArg: amqp.QueueOverflowRejectPublish}
	if kind == Quorum {
		args[amqp.QueueTypeArg] = Quorum
	}
	if parking := taskqueue.Parking(c.Prefix); queue != parking {
		args["x-dead-letter-exchange"] = ""
		args["x-dead-letter-routing-key"] = parking
		if kind == Quorum {
			args["x-delivery-limit"] = deliveryLimit
		}
	}
	return args
}

// declareOn makes queue, and the parking queue, if they are missing. A queue that is
// there in another form is no error, since it can be used; the caller is told. Each
// question that may fail has a channel that is thrown away, for the broker closes it.
func (c Config) declareOn(conn *amqp.Connection, queue string) (found, error) {
	if parking := taskqueue.Parking(c.Prefix); queue != parking {
		if _, err := c.declareOn(conn, parking); err != nil {
			return found{}, err
		}
	}
	var f found
	q, err := lookOn(conn, queue)
	switch {
	case refusedWith(err, amqp.NotFound): // or it has no home: the next question tells
		f.fresh = true
	case err != nil:
		return f, err
	case queue == taskqueue.Parking(c.Prefix):
		return f, nil // as it is
	}
	f.messages = q.Messages
	err = onChannel(conn, func(ch *amqp.Channel) error {
		if _, err := ch.QueueDeclare(queue, true, false, false, false, c.arguments(queue)); err != nil {
			return fmt.Errorf("declare queue %s: %w", queue, err)
		}
		return nil
	})
	switch {
	case refusedWith(err, amqp.PreconditionFailed):
		return found{messages: f.messages, other: true}, nil
	case refusedWith(err, amqp.NotFound):
		return f, fmt.Errorf("%w (%w)", errHomeless, err)
	}
	return f, err
}

// patience is how long a consumer whose queue was deleted leaves it to the publisher to
// declare it again: the two may have different settings, and the publisher's count.
const (
	patience = 3 * time.Second
	between  = 100 * time.Millisecond
)

// attendOn makes sure of a queue to consume, whatever its form. deleted says that it
// was there a moment ago.
func (c Config) attendOn(ctx context.Context, conn *amqp.Connection, queue string, deleted bool) error {
	for began := time.Now(); ; wait(ctx, between) {
		_, err := lookOn(conn, queue)
		if !refusedWith(err, amqp.NotFound) {
			return err
		}
		if !deleted || ctx.Err() != nil || time.Since(began) > patience {
			break
		}
	}
	_, err := c.declareOn(conn, queue)
	return err
}

// lookOn asks for a queue without making it.
func lookOn(conn *amqp.Connection, queue string) (q amqp.Queue, err error) {
	err = onChannel(conn, func(ch *amqp.Channel) (err error) {
		if q, err = ch.QueueDeclarePassive(queue, true, false, false, false, nil); err != nil {
			return fmt.Errorf("look for queue %s: %w", queue, err)
		}
		return nil
	})
	return q, err
}

// deleteOn deletes a queue with all that is in it.
func deleteOn(conn *amqp.Connection, queue string) error {
	return onChannel(conn, func(ch *amqp.Channel) error {
		if _, err := ch.QueueDelete(queue, false, false, false); err != nil {
			return fmt.Errorf("delete queue %s: %w", queue, err)
		}
		return nil
	})
}

// onChannel asks a question on a channel of its own.
func onChannel(conn *amqp.Connection, question func(*amqp.Channel) error) error {
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("open a channel: %w", err)
	}
	if err := question(ch); err != nil { // the broker has closed the channel
		return err
	}
	if err := ch.Close(); err != nil {
		return fmt.Errorf("close a channel: %w", err)
	}
	return nil
}

// refusedWith tells whether the broker answered with that code.
func refusedWith(err error, code int) bool {
	var reason *amqp.Error
	return errors.As(err, &reason) && reason.Code == code
}
