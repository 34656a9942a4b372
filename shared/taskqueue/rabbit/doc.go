// Package rabbit keeps the contract of package taskqueue on RabbitMQ. It is the
// only package that speaks AMQP.
//
// # Connections and generations
//
// Publisher, Consumer and Admin each own one connection, because the broker
// stops reading from a connection that publishes while it is short of memory or
// disk: acks and questions must not wait behind that. Each is driven by its
// Run(ctx), which owns every goroutine and returns when all have ended.
//
// One connection is one generation. When it breaks, everything that belongs to
// it (channels, open receipts, deliveries) ends with it, and the next generation
// starts from nothing: dial, declare, consume, on fresh channels. Nothing is
// carried over and the client library's own recovery stays off, since a channel
// that lives through a reconnect accepts acks for deliveries of the old
// connection and applies them to messages of the new one. Between two attempts
// lies an exponential pause from 0.1 seconds up to 1. With several brokers each connection
// begins at one of them by chance and takes the next one after a loss or a failed
// dial; it pauses only when all have failed, or when it was lost at once. A silent broker is noticed by
// heartbeats of 3 seconds, after at most 9.
//
// # Publishing
//
// Each queue has a lane: a channel of its own in confirm mode. So the broker's
// channel errors and out-of-order confirms in one queue never hold up another.
// A lane opens on the first publish to its queue; until it is open, messages
// wait in memory with open receipts, so Publish never waits for an answer. It
// can wait for a full socket; a write that takes 10 seconds breaks the connection.
//
// A message is mandatory: the broker confirms a message for which there is no
// queue, but returns it first. The lane handles returns before it looks at a
// confirm, both in one goroutine, and reports such a message as ErrUnroutable.
// Somebody deleted the queue then; the lane declares it again.
//
// While the broker blocks publishers (connection.blocked) Publish refuses with
// an error that is ErrDisconnected; receipts that are open stay open, and may
// yet resolve with nil when the alarm ends.
//
// A queue may be there in name only: RabbitMQ 3.10 keeps the record of a quorum queue
// that is some seconds old when the broker is killed, and loses its process. It can be
// declared, nacks what is published to it, and ends the connection of whoever consumes
// it. A lane whose queue has refused everything for 4 seconds deletes the queue and
// declares it anew. What it held is lost with it; doorbells are rung again. Members
// of a queue that elect a leader refuse for a second or two, so it is not done sooner.
//
// When a lane cannot open (the queue exists with other arguments, its quorum is
// gone) its receipts resolve with ErrUnconfirmed and so does everything
// published to it until the next attempt, a second later at most.
//
// The broker has 10 seconds to open or close a channel or declare a queue, then the
// connection is given up.
//
// # Consuming
//
// Each slot has a channel of its own with prefetch 1. The channel opens with the
// generation, but its consumer starts in Receive only: a slot that is busy when
// the connection comes back takes no message that would wait behind the work.
// An ack on a channel of an older generation is refused locally with ErrStale.
//
// Leaving consumption for an early ack needs no answer from the broker. The slot
// sends cancel, then ack, on one channel; the broker handles them in that order,
// and until the ack it may send nothing, since the prefetch is used up.
//
// The broker may close a slot's channel (an ack that took too long) or cancel
// its consumer (the queue was deleted, or its leader moved). Either way the slot's
// delivery becomes stale and the slot opens a new channel and declares the queue.
//
// The broker can also forget a consumer without a word, or hand messages to one whose
// channel drops them: RabbitMQ 3.10 does when a queue is deleted and declared again at
// once, for the channel takes the new queue's messages for old ones. Such a message is
// with the consumer and shows nowhere, and each slot so afflicted swallows one. So a slot
// that has waited on one channel for 5 seconds opens another, and what the old one has
// swallowed goes back to the queue. Slots do so in turns, a fifth of them at a time.
//
// # Queues
//
// Queues are durable and, unless configured otherwise, quorum queues. A message
// that is rejected, or that was redelivered 1,000 times, goes to the parking
// queue. The limit is high because every shutdown of a worker counts against it;
// how often a node may fail is the ledger's affair. A full queue refuses new
// messages instead of dropping old ones.
package rabbit
