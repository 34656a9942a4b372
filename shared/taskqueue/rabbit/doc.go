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
// A channel of RabbitMQ 3.10 asks the leader of a quorum queue before its first message, and
// keeps to the node where it looked for it. If that one was dying just then, the channel
// refuses every message at once and for good, while the queue has a new leader within half
// a second. So a channel on which everything was refused for half a second is closed and
// another one opened, which finds that leader. The queue itself is untouched: to delete it here
// would take the connection of each of its consumers too, and cure nothing.
//
// A queue may be there in name only: RabbitMQ 3.10 keeps the record of a quorum queue
// that is some seconds old when the broker is killed, and loses its process. It can be
// declared, nacks what is published to it, and ends the connection of whoever consumes
// it. Or the process is started again, alone, and never leads: then nothing is answered,
// and the broker reads no more from a connection that publishes to it. A lane whose
// queue has refused everything for 4 seconds, on one channel after the other, or answered nothing for 8, deletes the
// queue, in the second case by a connection of its own, and has it declared anew. What
// it held is lost with it; doorbells are rung again. Members of a queue that elect a
// leader need a second or two, so it is not done sooner.
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
// All slots of one queue share a channel and, as a rule, one consumer on it, whose
// prefetch is the number of slots. So a process never holds more messages than it has
// slots to work on them, which is all that the broker must be told; it need not know of
// each. Messages go to the slots that wait, in one goroutine (feed, session) that alone
// talks to the broker: it takes all acks that wait by then, and acks those that are the
// channel's first open ones with one frame. A lone ack goes out at once. The feed looks no further
// ahead than its slots: a message would wait behind a busy one while another
// worker idles. A process that wants messages to wait for it takes more slots than it can
// work on at once and says how many of them are spare (Spare): no message is wanted for those. It may
// say otherwise at any time, and then that counts for what the broker sends from now on.
// What is here by then stays.
//
// A consumer's prefetch can't be changed, and quorum queues know none for a whole channel.
// So what counts is the sum: of the prefetch of each consumer, and of the open messages of
// each that was cancelled. It never exceeds the number of slots that hold a message of this
// generation or could, less the spare ones. Slots count from their first Receive on; one whose delivery became
// stale, was acked early or was handed back, is busy and counts again from its next Receive. Where the sum
// falls short a consumer is added, for all missing slots together and at most every
// 20 milliseconds. Where it would exceed, a consumer is cancelled and what arrived
// for no slot is nacked, to be requeued. An early ack, and a hand-back,
// follow the cancel, so that no other message comes in their place. A cancel waits
// for the broker's answer, since the library drops what arrives after one that doesn't.
//
// An ack with the mark "multiple" ends all open messages up to its tag. It is used when
// those are all to be acked and none can be on its way here; the broker closes a channel
// on which a message is acked twice. An ack on a channel that is lost is refused with
// ErrStale. One that is taken and then lost with its channel is as one lost on the way:
// the message is delivered again, and the ledger refuses the claim.
//
// The broker may close the channel (an ack that took too long) or cancel a
// consumer (the queue was deleted, or its leader moved). Either way every delivery that is
// open becomes stale, and another channel is opened and the queue declared.
//
// The broker can also forget a consumer without a word, or hand messages to one whose
// channel drops them: RabbitMQ 3.10 does when a queue is deleted and declared again at
// once, for the channel takes the new queue's messages for old ones. Such a message is
// with the consumer and shows nowhere until its channel is closed. So a channel that is
// older than 5 seconds is replaced when a slot waits: another one is opened, the consumers
// of the old one are cancelled, what they hold is worked on, and the old channel is closed
// when that is ended. What it has swallowed goes back to the queue then. While a slot
// works for long on a message of the old channel, the swallowed ones are out of reach for
// as long, at most until its early ack; the leader rings for them again sooner. One
// process is out of consumption for a millisecond by that; the others are not.
//
// # Writing
//
// What the library writes goes to the socket in a goroutine of the connection (wire),
// which takes all that has been written while it was in the call before. So under load
// many messages or acks leave in one call and a lone one at once. Errors come late, as
// they do from a socket's buffer: the connection breaks then, and with it the generation.
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
