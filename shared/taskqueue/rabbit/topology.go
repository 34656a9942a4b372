package rabbit

import (
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// deliveryLimit is how often a quorum queue hands out one message before it
// moves it to the parking queue.
const deliveryLimit = 1000

// declare makes queue and the parking queue, if they are missing. A failure
// closes ch.
func (c Config) declare(ch *amqp.Channel, queue string) error {
	parking := taskqueue.Parking(c.Prefix)
	kind := c.QueueType
	if kind == "" {
		kind = Quorum
	}
	args := amqp.Table{amqp.QueueTypeArg: kind, amqp.QueueOverflowArg: amqp.QueueOverflowRejectPublish}
	if _, err := ch.QueueDeclare(parking, true, false, false, false, args); err != nil {
		return fmt.Errorf("declare queue %s: %w", parking, err)
	}
	if queue == parking {
		return nil
	}
	args["x-dead-letter-exchange"] = ""
	args["x-dead-letter-routing-key"] = parking
	if kind == Quorum {
		args["x-delivery-limit"] = deliveryLimit
	}
	if _, err := ch.QueueDeclare(queue, true, false, false, false, args); err != nil {
		return fmt.Errorf("declare queue %s: %w", queue, err)
	}
	return nil
}

// declareOn declares on a channel that is thrown away: a failing declare closes
// its channel, and must not close one that is in use.
func (c Config) declareOn(conn *amqp.Connection, queue string) error {
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("open a channel: %w", err)
	}
	if err := c.declare(ch, queue); err != nil {
		return err
	}
	if err := ch.Close(); err != nil {
		return fmt.Errorf("close a channel: %w", err)
	}
	return nil
}

// deleteOn deletes a queue with all that is in it.
func (c Config) deleteOn(conn *amqp.Connection, queue string) error {
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("open a channel: %w", err)
	}
	if _, err := ch.QueueDelete(queue, false, false, false); err != nil {
		return fmt.Errorf("delete queue %s: %w", queue, err)
	}
	if err := ch.Close(); err != nil {
		return fmt.Errorf("close a channel: %w", err)
	}
	return nil
}
