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
// When a lane cannot open (the queue's quorum is gone, or the node that holds it) its
// receipts resolve with ErrUnconfirmed and so does everything published to it until the
// next attempt, a second later at most.
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
// # Types of queues
//
// Every queue is durable. Config says of which type each pool's queue is to be; a message
// is a doorbell, so it may be cheap:
//
//	type        is                                   a broker's restart   kill -9     its node of three lost
//	quorum      a log on every node, synced          keeps all            keeps all   goes on with the others
//	classic     a queue on one node, messages synced keeps all            keeps what was confirmed   stands still
//	transient   the same, messages without a sync    loses all            loses all   stands still
//
// Transient queues are durable too: RabbitMQ 4 is giving up shared queues that are not.
// Only their messages may go (delivery mode 1). Classic and transient differ in nothing
// that is declared, so a change between the two needs no new queue.
//
// What a hop pays for it, one message at a time through RabbitMQ 3.10 on a machine with
// two busy processors (BenchmarkHop, medians of three runs, microseconds):
//
//	type        publish to delivery: p50, p99    publish to confirm: p50, p99
//	quorum      1,071   20,578                   1,115   20,625
//	classic       236    2,290                     573    4,499
//	transient     173      551                     210      573
//
// A quorum queue delivers when the message is in its log on disk, a classic one before;
// a transient message never sees the disk, so a busy disk shows in no percentile.
//
// Auto is therefore Transient where one broker is configured: what only its disk could
// keep is rung again by the leader at once (Losses), and a host that is lost takes any
// type with it. With several brokers it is Quorum, the only type that RabbitMQ 4 still
// replicates since mirrored classic queues are gone from it: the others live on one node.
// Classic is for a broker whose queues hold more than is to be rung again after a
// restart, some ten thousands of messages.
//
// # A queue of another type
//
// A queue keeps its type and arguments for life, and a declaration that wants others is
// refused. Who only consumes, or opens the way to a queue, takes it as it is. The first
// message of a publisher that wants it otherwise deletes it and declares it anew, once in
// a connection: only a leader publishes, so its settings count, and two leaders of
// different settings don't go on for ever. What was in the queue is told as lost. If it
// can't be deleted it is used as it is.
//
// A consumer that is told of the deletion of its queue leaves it to the publisher to make
// the next one, for 3 seconds; then, or when it meets no queue at its start, it makes one
// by its own settings. So to change the type of a pool is to change the setting of the
// coordinators and restart them.
//
// # A queue without its node
//
// While the node of a durable classic queue is down, another node of the cluster refuses
// to use it, to delete it and to declare it anew. Its messages could be rung again
// elsewhere, but not under its name. So the lane says so once and tries on: it goes on
// when the node is back, or on another node as soon as the lost one is given up
// (rabbitmqctl forget_cluster_node).
//
// # Losses
//
// A lane tells (Publisher.Losses) when what was in its queue is lost: the queue had to be
// made, or it may forget and was empty when the connection came back. The count is that
// of the declaration, before anything is published, so it is the broker's word about what
// the connection before has left. After a mere cut a queue still has its messages, and
// nothing is told; an empty one is told although nothing may be lost, for then there is
// little to ring again. Whoever leads offers again what was offered before that time and
// is claimed by nobody. A purge is told by nobody: the audit finds it within its bound.
//
// # Limits
//
// A message that is rejected, or that a quorum queue redelivered 1,000 times, goes to the
// parking queue, which is of the default type, or as it is. The limit is high because
// every shutdown of a worker counts against it; how often a node may fail is the ledger's
// affair. A full queue refuses new messages instead of dropping old ones.
package rabbit
