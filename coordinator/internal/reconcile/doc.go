// Package reconcile does for the leader what no event asks for: it revokes the
// claims of lost workers, fires timers, and repairs what a store has lost.
//
// # Leases
//
// Only the leader revokes a claim, and never on one clock's word. A lease that is
// over on Redis TIME must also have been seen unchanged for a whole lease on this
// process's monotonic clock, so neither a jump of Redis's clock nor a pause of
// this process revokes anything early. After a takeover, a reconnect to a Redis
// that restarted, a time in which Redis could not be reached or stood still, or a
// jump of its clock, no claim is revoked for one lease: the workers could not renew
// either. A claim that was made since the leases were read is left alone, and one
// that can't be revoked holds up no other. If more than half
// of many leases run out in one pass, something else than the workers is broken,
// so the pass waits one lease more and says so.
//
// So a worker that stands still loses its claims at most a lease and a look after its
// last beat: a quarter of a second later than the lease's end, or a twentieth of a short
// lease. All claims of one worker are not too many at once. The broker
// goes on handing messages to that worker's free slots for a while, so the offers that
// follow are looked after and made again while they are unclaimed and in no queue.
//
// The leader also holds a connection to every live worker, see package presence: when
// it proves that the process is gone, all claims of that worker are revoked at once.
// That worker's record names it by its start as well, so another process by the same
// name is met as a new one.
//
// A redelivered message is no proof that the worker which holds the claim is
// gone, only a reason to look: the leader dials the health address that worker
// announced, and revokes at once only when that is refused, or answered by
// another process. A time-out proves nothing.
//
// A lost at-most-once node ends unknown if it may have been started. Whether it
// was stands in etcd, as its once-key (package once): there is none, and the node
// is offered again. While etcd gives no answer the node waits, whatever its lease
// says, and its record names etcd as what it waits for; the answer is never
// guessed. It is asked for beside the passes, so that an etcd that is away holds
// up no other node.
//
// # Timers
//
// Retries, delayed offers and cycle deadlines stand in a sorted set that the
// scripts write together with the state they belong to. The leader holds none of
// them in memory; it sleeps until the earliest, and an outbox entry wakes it when
// an earlier one may have come.
//
// # Audit
//
// At a takeover, after Redis restarted and every minute each running cycle is
// compared with its node states, see package progress. What looks wrong is read a
// second time before it is repaired, since one reading may catch the middle of a
// step: a repair that is counted is a loss. Cycles that stand still are looked at
// every few seconds. A node that was dispatched, whose queue has
// been empty at two looks in a row, and that nobody claimed, has lost its
// message: it is offered again under the same attempt, so that a message that
// turns up after all is a duplicate and dropped.
package reconcile
