// Package intake takes tasks and sees each through: claim, run, settle, ack. One
// goroutine serves one slot, and a slot holds one message. As a rule messages come for as many
// slots as there are places, so a worker has no message that another could work on.
//
// A task runs at a place. It has the place from before
// its claim, but for some of the direct hops below, until its handler has returned. Its report goes out then without a place, unless
// a successor may follow at it, so the next task is claimed meanwhile, in the same round trip as a rule: nodes that end
// together would else wait for one round trip after the other. As many reports as there
// are places may be under way; a task that ends while they are keeps its place until one
// is answered. So a worker that can't reach Redis holds as many results as it has places,
// and those of the tasks that ran on, which keep all places: it claims nothing more.
//
// # Messages ahead
//
// Of one message for each place none is here when a place is left: the next one comes when the report
// is in and the broker has the ack and has sent it, two to five milliseconds later, and for nodes of 50 that
// is a tenth of a worker's time. So there are twice as many slots as places. Half of them are
// spare, and nothing is sent for those, until it harms nobody that messages wait here for a
// place (ahead.go): all places are taken, as many as there are were left within a tenth of a second
// (pace.go), and the broker says that messages wait in the queue. Every other worker has all that
// it takes then. It is looked at again and again, 20 times a second at most and only while places turn over
// so fast; after a quarter of a second in which nothing waited in the queue, or nodes took longer, half of
// the slots are spare again.
//
// What may go wrong with it, and what becomes of such a message:
//
//   - The nodes that follow take long. A message that found no place within a tenth of a second
//     is handed back, and so is each that waits; no more come for a second.
//   - Other workers become idle meanwhile, or new ones come: they miss what waits here, for that
//     tenth of a second at most.
//   - The broker does not tell what waits, or not in time: nothing comes ahead, as if there
//     were no spare slots.
//   - The worker drains: what waits goes back at once, as any message that was not claimed.
//   - The connection is lost, or the worker: the broker delivers what waited to others, and
//     nothing of it had begun. A message that is stale by then is claimed all the same, as any is, by
//     one of those that have it.
//   - The flow is paused, or its cycle ends: the claim of what waited is refused. A message is
//     claimed when it has a place and not before, so a node that waits here is nobody's.
//
// # Messages of several tasks
//
// Under a backlog a message carries several tasks. They run at the same time, at as many
// places as are free. So messages may be here for which there is no place.
//
// The first task of each waits for a place as a lone one does. Its further tasks get theirs one message
// after the other, in the order in which the messages came (crew.go). So messages end one by one, and a slot is soon
// free for the next one at any time; if each had its share, all would stay until they end together, and what
// comes to the queue meanwhile, of another flow maybe, would wait as long as all of them take. What comes alone is behind one
// further task at most. No messages are wanted ahead while more tasks wait here than there are places.
//
// A task waits for a place for a second, since
// other workers may be idle meanwhile. Then a message of which nothing has begun is handed
// back, and its slot receives again when there is a place. Of a message that has begun, the
// rest is declined: the leader offers it again. A message is acked when all its tasks are
// ended or offered again, and handed back if one of them is to be: the ledger refuses the
// others then, for they are ended. A worker that dies with such a message leaves it to
// another one, which claims what was not claimed and makes suspects of what was; the leader
// finds those whose worker is gone, and a suspect that lives loses nothing. A message is
// acked early when one of its attempts has run long. What waits then is safe all the same:
// it has begun or was offered again long ago.
//
// # Direct hops
//
// A hop through the queue is a report, a wake-up of the leader, a message and a claim. The
// report of a node may say which successors would be welcome here (direct.go). Of those that
// become ready by it the same script grants the claim of one, or of up to four where all are brief, and these are not
// offered to anybody. The first runs at the place of its predecessor and under the same message, which is acked when the last of
// them has ended, or early; its own report may go on in the same way. So a chain runs on one
// worker at the price of a script a node, and of a fan-out one node stays, or a few brief ones, while the others
// are spread.
//
// Brief are nodes of a type that took a millisecond (a setting) or less here, on the average of late (brevity.go): to run them one after
// the other takes no longer than the way through the queue, so nobody is to be looked for who
// might have a place. Those that come together run at places that are free, if there are any; else they stand in line
// (line.go) for the place of the one before, which passes it on as its handler returns, and for any that
// is left. Their claims are kept alive meanwhile.
//
// Why nothing is lost by it: a message is a doorbell, and a claim is protected by its
// lease, which the heartbeats keep alive. A worker that dies leaves the message of the first
// node, whose claim is refused since it is counted; the claims of those it worked on, or had in line, end as those
// of nodes whose message was acked early: the broken connection proves the death, or the lease
// runs out, and they are offered, with a message this time. An answer that is lost is asked for again
// with the same token, and renews the leases; one that never comes leaves claims that nobody
// renews. A node before it may take long though its type is brief: what found no place within
// a tenth of a second is handed back, and offered to others.
//
// Why nobody waits long for it: the slot is as busy as its place, so the broker sends nothing
// for it, and while one more place is idle, what is in the queue has where to go. With all
// places taken, a task that came by a message is followed by one successor, or the few that came together,
// which saves a busy cluster half the messages of deep flows and more. That goes on only while the place was theirs for
// less than 30 ms, or 60 ms if they are brief: what waits in the queue waits for two nodes at most where it waited for one, or for
// that long and the few that are in line by then. Of a line no more than four wait for a place at a time; what else it lets go
// is offered to all. A place is kept until the
// answer to a wish, so there a join is asked for only by those of at most two that let it go.
//
// The leader is not needed: whether the flow is paused, the cycle is ending or the component failed
// is looked at by the script, as for any claim. Nodes that may be started only once, and those
// of other pools, go through the queue. A worker that drains has no new wish; what one that was out
// got, and what is in line, is worked on within the grace.
//
// # In which order, and why
//
// The claim comes before anything runs, with a token made here, so that asking
// again after a lost answer is harmless. The result goes to the ledger before
// the message is acked: a worker that dies in between leaves a message that is
// delivered again, and whose claim is refused because the node is done. A node
// that runs long is acked early: from then on its lease protects it.
//
// A claim is not enough to start an at-most-once node, since Redis may have
// forgotten an earlier one. Its once-key comes between claim and start (package
// once). Until it is there the node was not started, and is handed back when the
// worker stops; a node whose key is another's ends unknown, without being started.
//
// # While Redis is away
//
// Nothing is acked or handed back; each slot waits with its message and its
// result for as long as it takes. The attempts that run are ended when their
// claims can't be proven own any more, and handed back when the ledger answers:
// interrupted is not failed, and must use up no retry.
//
// # At the end
//
// Three contexts end one after the other. The end of the first, Run's own, stops
// taking: an idle slot returns, a message that was not claimed yet goes back.
// After the grace the second ends the attempts that still run, with ErrDraining
// as cause. The third ends reporting: what could not be reported by then is left
// to the lease, and its message to another worker. A node that may be started
// only once is never handed back after its start: the leader ends it as unknown.
//
// A cluster in one process can play a worker's death: then all three end together,
// the third first, and nothing is finished, reported or handed back.
package intake
