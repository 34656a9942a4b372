// Package taskqueue is the contract between the coordinator, which offers
// tasks, and the workers, which take them. It holds names and types only;
// package rabbit keeps the contract on RabbitMQ, package inproc inside one
// process, and package taskqueuetest checks that both do.
//
// # What is promised
//
// A message published with a nil receipt error is stored in its queue and will
// be delivered at least once, in no particular order, to one slot at a time,
// until that slot acks it. Everything else may happen and must be harmless:
// a message may be delivered twice, may be delivered after its receipt reported
// an error, and may vanish with a broker's disk, or with the broker's process if the
// queue is of a type that forgets. The ledger decides what an offer is worth; a message
// is a doorbell. A publisher tells of queues that were lost or found empty (Losses), so
// that the leader rings again at once; what it does not see, the audit finds.
//
// # How it fails, and what each side does
//
// Publishing never waits for the answer: Publish returns a Receipt, and any
// number of them may be open. A receipt that resolves with ErrUnroutable or
// ErrUnconfirmed means "publish again"; so does one that never resolves before
// the publisher's context ends. While there is no connection Publish returns
// ErrDisconnected at once.
//
// Receiving is by slots. A slot holds one delivery; the broker is told how many slots
// a process has (as its consumer's prefetch), less those that it calls spare, so a worker
// hoards no messages that another could take. When the connection breaks, every open
// delivery becomes stale: its Ack returns ErrStale and does nothing, because the
// broker has already queued the message again and its tag may by now belong to
// another message. The client library's own recovery is off for that reason: it
// resubscribes on the same channel and an old ack then removes a message that
// nobody worked on.
//
// A node that runs longer than a broker likes to wait for an ack (RabbitMQ
// closes the channel after its consumer timeout and requeues everything on it)
// is acked early: the slot first leaves consumption, then acks, and consumes
// again only when its work is done. From the ack on, the ledger's lease alone
// protects the work.
//
// A message that cannot be a task is parked: rejected without requeue, so the
// broker moves it to the parking queue, where a person finds it.
package taskqueue
