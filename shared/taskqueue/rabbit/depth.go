package rabbit

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// errAsking is returned while an earlier question has no answer yet.
var errAsking = errors.New("the question before has no answer yet")

// Depth tells how many messages wait in queue and how many slots consume it. It asks on the
// connection that the messages come by, one question at a time, and a question that gets no
// answer is left behind: other than with Admin, the connection does not end by it.
func (c *Consumer) Depth(ctx context.Context, queue string) (taskqueue.Depth, error) {
	answer, err := c.ask(queue)
	if err != nil {
		return taskqueue.Depth{}, fmt.Errorf("depth of queue %s: %w", queue, err)
	}
	select {
	case a := <-answer:
		if a.err != nil {
			return taskqueue.Depth{}, fmt.Errorf("depth of queue %s: %w", queue, a.err)
		}
		return a.depth, nil
	case <-ctx.Done():
		return taskqueue.Depth{}, ctx.Err()
	}
}

// depthAnswer is the broker's to a question.
type depthAnswer struct {
	depth taskqueue.Depth
	err   error
}

// ask asks in a goroutine that ends with the connection, if it gets no answer. The channel
// that was of use serves again.
func (c *Consumer) ask(queue string) (<-chan depthAnswer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.conn == nil:
		return nil, taskqueue.ErrDisconnected
	case c.asking:
		return nil, errAsking
	}
	c.asking = true
	conn, channel := c.conn, c.questions
	answer := make(chan depthAnswer, 1)
	c.running.Go(func() {
		var a depthAnswer
		if channel == nil {
			channel, a.err = conn.Channel()
		}
		if a.err == nil {
			var q amqp.Queue
			if q, a.err = channel.QueueDeclarePassive(queue, true, false, false, false, nil); a.err != nil { // the channel is closed
				channel = nil
			}
			a.depth = taskqueue.Depth{Ready: q.Messages, Consumers: q.Consumers}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.asking = false; c.conn == conn {
			c.questions = channel
		}
		answer <- a
	})
	return answer, nil
}
