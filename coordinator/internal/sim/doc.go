// Package sim runs the protocol in schedules that a seed decides: coordinators,
// workers, a user, a broker, etcd and a ledger in one goroutine, where before
// every call of a store any other of them may go on, die, stand still or be cut
// off. It looks for an order of steps and faults that breaks a promise.
//
// # What is real and what is modelled
//
// Real is the code that decides: package progress, advance (Act on each outbox
// entry), the reader of package outbox, the passes of package reconcile over
// leases, timers and everything the audit compares, and package audit, which
// judges the journal of each schedule and compares it with the ledger. The ledger
// is package memory of the ledger, whose calls leave the same records as the
// scripts.
//
// Modelled, after the code they stand for, are the loops that wait on channels and
// clocks: dispatch (take, confirm the epoch, publish, mark what was confirmed),
// the ticker's next slot, the mirror, the release of holds; the worker (receive,
// claim, once-key, run, heartbeat, complete, fail, release, ack, early ack, its
// fence against itself); election (a key with a rising revision); the broker and
// the once-keys. One flow has up to six nodes and three slots; there are two or three
// coordinators and workers. Wide flows, which are worked on in parts, archives,
// removals and edits of flows are left to the suites of the ledger.
//
// # Schedules
//
// An actor is straight-line code in a coroutine. It gives the turn away before
// each call; the scheduler picks the next one by the seed and moves the clock when
// all wait. A crash unwinds a process's actors where they stand, so it falls
// between any two calls. The faults are listed in faults.go: some strike a call
// or a message, others are events. Each schedule draws which of them it may have,
// and how many.
//
// After the last slot everything is healed: what stood still goes on, what died
// comes back, nothing fails any more. From then on every cycle has to end and
// nothing may be left under way, within a bounded time.
//
// # What is checked
//
// After each call the states of its cycle are compared with those before: what was
// counted stays, no node is offered or claimed before its inputs are decided,
// counters are those of the states, a slot has one cycle, a cycle ends once and
// with nothing running in it, no deposed leader writes after its successor. A
// handler that may start once is counted over everything that is lost. While the
// ledger loses nothing, nothing may need a repair but a message. At the end the
// journal is audited; after a call that was torn it is not, since a state may then
// stand without its record.
//
// # Is it able to find anything?
//
// Package mutant lists broken readings of the protocol. Each is built in by a tag
// and has to be found: scripts/check mutants. What it found in the product itself
// stands in regressions_test.go, by seed and as what it was.
package sim
