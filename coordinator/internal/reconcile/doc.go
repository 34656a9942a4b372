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
// What a store has lost is put back within a stated time (AuditConfig.Within, the
// setting --repair-within, 5 s unless set, 2 s at least), counted from when the
// servers answer. A fifth of it is the look: at each look the cycles are examined
// that made no progress since the last one, at each second look all open cycles, and
// all flows. A cycle is compared with its node states, see package progress. What
// looks wrong in a cycle is read a second time before it is repaired, since one
// reading may catch the middle of a step, and what a flow lacks must be lacking at
// two looks, since it may be on its way: a repair that is counted is a loss.
//
// A message that is lost leaves a node dispatched and unclaimed. It is missed when
// its queue was empty at two looks in a row, at least a look apart, both after the
// offer. Behind a backlog the queue is never empty. There a message is missed when
// an offer that became ready after it was confirmed has been claimed already at the look before: queues go in order. An
// attempt that was offered again proves nothing of that kind, since its older
// message may be the one that was claimed; so a backlog is not doubled. The new
// offer is of the same attempt: a message that turns up after all is a duplicate and
// dropped.
//
// What a queue has lost as a whole need not be missed: the publisher tells of a queue
// that had to be made anew or, if it is of a type that forgets, was empty when the
// connection came back, and a look finds a queue that is not there. Then every node that
// was dispatched to it before and is unclaimed is offered again in one pass, 50 ms later,
// so that what workers held is claimed by then. A queue that still has messages after a
// cut costs nothing; an empty one costs one pass, and at worst one duplicate for each
// slot of a worker.
//
// So the longest way is that of a single message: just after a look at everything it is
// lost; two looks later the queue is watched, one look later it is empty for the
// second time, one look later the cycle is examined. Four looks of five.
//
// Of more than a thousand flows a look goes through a thousand, and those that lacked
// something at the last: what a flow itself has lost is then put back within as many
// looks as there are thousands of flows, since looking at a hundred thousand each time
// would keep Redis and the leader busy for nothing. What a restart of Redis has lost is
// not waited for so long: every flow is looked at then.
//
// An idle cluster is looked at once a second and no faster, in two or three reads.
// Looks take a fifth of the time at most: when they take longer, with about a
// thousand cycles open, the pauses grow, the bound is given up, and the log says so.
//
// # Who puts what back
//
// Every key, member and entry of package ledger's table, alone. Unless another time
// is given, within the bound. TestEachKeyIsLost and TestEachEntryIsLost of package
// leader take each away in turn.
//
//	lost                                    put back by                             kind
//	a message in the broker                 audit: offered again                    message
//	all messages of a queue                 the same, at once                       message
//	ready entry of the outbox               audit                                   offer
//	decide, spread entry                    audit                                   decide, spread
//	sweep entry                             audit: sweeps                           sweep
//	timer entry                             the timers' longest sleep: half the bound
//	suspect entry                           the lease: one lease
//	release entry                           fleet, each second
//	purge entry                             audit                                   purge
//	closed entry                            audit, by P:closing                     closed
//	alert entry                             nobody: the cycle's own end is told
//	P:outbox                                as each of its entries
//	lease of a claim, P:leases              audit; a beat of its worker             lease
//	timer of a retry, P:timers              audit                                   timer
//	timer of a declined offer               audit                                   declined
//	timer of a deadline, or the deadline    audit                                   deadline
//	place in a held set, name in P:holds    audit                                   held
//	held field of a node                    audit: offered again                    offer
//	counter of a join or of a cycle         audit                                   counts
//	record of a node                        audit: as its inputs say, attempt 1     ready, counts
//	record of a cycle                       nobody; the flow goes on without it     stray, active
//	member of P:active; count in the flow   audit                                   active
//	number in a flow's cycles               audit                                   cycle
//	member of P:closing                     nobody: an end whose entry is lost too is not told
//	plan, or a field of it                  audit, from what this process has       plan
//	state of a flow                         audit: from etcd and its cycles         flow, active
//	mirrored definition                     audit                                   config
//	member of P:flows                       audit                                   listing
//	a flow that etcd has lost               package catalog, from the ledger        catalog
//	the epoch, the schema                   the next fenced write, the next takeover
//	P:workers, P:worker:{id}                the worker's next beat
//	P:run, P:catalog                        the leader, each coordinator
//	triggers of a flow                      nobody: a repeated trigger starts once more
//	outputs                                 nobody: they can't be derived; the input is missing
//	P:journal, P:repairs, P:recoveries      nobody: they only tell
//	P:deleted                               nobody: an old etcd could bring a flow back
//
// A plan of an older revision that neither the ledger nor this process has can't be
// put back; its cycles stand still until they or their flow are removed. Fields that
// one command writes together are not lost one by one.
//
// Each repair is counted and journalled by the script that makes it (record repair:
// kind and cause), logged, and counted in station_repairs_total{kind}; the leader
// tells of those of one bound together as a recovery.
package reconcile
