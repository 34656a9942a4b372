// Package floor measures what Redis and RabbitMQ take for the shape of the
// product's work when nothing else is done: the least that any scheduler of this
// shape can need on the same servers. A benchmark runs it beside the product and
// gives the ratio.
//
// For each node it does one publish with a confirm that nobody waits for, one
// delivery and one ack, two script calls, like a claim and a completion, and one
// wake-up: the completion adds to a stream that the driver reads. What the product
// does beside that, leases, retries, timers, results, the journal, the outbox with
// its receipts, elections, is left out. So a ratio of 1 is not to be expected;
// the ratio is the price of all of it.
//
// # How it is kept low
//
// A floor that is slow for a reason of its own flatters the product. So it is
// built as measurements of such systems teach: two processes, a driver and a worker, each
// of stages that are joined by channels; a stage takes all that waits for it, and
// does it in one pipeline. Nothing waits for a confirm. Each role has its own
// connection. The driver counts predecessors in memory, and the messages are a
// few bytes.
//
//	driver: XREAD → count, publish | XDEL | confirms
//	worker: deliveries | claim | sleep | complete | ack
//
// Between the deliveries and the claims is a stage of its own, for the client library
// hands them out one at a time: claims of one message each made a floor of 6,000 nodes a second
// where this one does 20,000.
//
// Acks of neighbouring messages are one frame, as the protocol allows.
//
// # How it fails
//
// It does not recover: a lost connection, a refused message or a script that
// finds what it does not expect ends the run with an error, for its figures would
// be worth nothing. It cleans up after itself, and a driver whose parent is gone
// does so too: both processes end with their standard input. What a killed one
// leaves is one queue and two keys, all named station-floor and a random number;
// the queue expires after a minute without a consumer, the keys after an hour.
//
// This package is, beside the product's own doors, the only one that speaks to
// the servers itself, because what it measures is the servers.
package floor
