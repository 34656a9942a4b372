// Package dispatch carries ready nodes from the outbox to their pools: publish,
// confirm, mark. It works in two stages joined by a channel, so that publishing
// never waits for a confirm: the first publishes what is waiting and keeps
// the receipts; the second waits for receipts in their order and marks every
// offer that is confirmed by then with one script call.
//
// Under a backlog several nodes of a pool go in one message (package task): as many as a
// 2 × slots-th part of those that are ready now, 16 at most. So a worker that takes a
// message into each of its slots has no more than half of its fair share of what is ready. Where
// the workers are known to be fast (Turns) it is an eighth of a worker's share: the nodes of a message
// run at the same time, so its slot does not matter, and a message for every two nodes costs the broker, the worker
// and the leader more than the nodes themselves. How fast they are is forgotten after ten seconds in which
// nobody asked, since other nodes may come. A lone node goes alone and at once, and so does each while it is not known how many slots
// there are, or one of the workers reads single tasks only. A message is one offer for the
// broker alone: its nodes have their outbox entries, and later their claims, each its own.
// A message that is lost or refused is published again, entry by entry as they are then.
//
// An offer whose receipt reports an error, or never comes, keeps its outbox
// entry and is published again at the reader's next pass. A message may thus be
// published twice; the second finds its attempt claimed and is dropped.
//
// # Turns
//
// A pool's queue goes in order, so what one flow put into it at once is what every other
// flow waits for: ten thousand nodes of nothing are more than a second. So each pool has a
// window: as many nodes as its workers take in about 15 milliseconds, at least one for each
// of their slots, may wait in its queue. What does not fit is held back here, by flow, and
// goes into the queue as that drains: one node of each flow in turn, each flow's in their
// order. A flow that comes, or comes back after everybody had a turn, is next. Its first
// node need not even wait for the window, and no node of a flow that has no more than four here
// has to: answers are late when everything is busy, and a chain beside a fan-out would wait for one
// at each of its nodes. Such nodes are offered at once, in the order of turns, while no more than
// twice the window may be in the queue. After a whole window of them the others have to get
// room before there are more, so many small flows together can't keep out a large one. As long as everything fits nothing is held back and nobody is
// asked for anything, but one question in as many nodes as the window has room for.
//
// How far the queue has drained the broker tells, when it is asked for the queue's depth. It
// is asked beside the work, only while a window is full, a question at a time for each pool:
// at first every four milliseconds, less often when nothing drains. It counts messages that
// no slot has; how many nodes they are is known, since those that are left were published
// last. From two answers follows the rate at which the workers take nodes, if the first found
// messages in the queue: then every slot had one. When the second finds none, it is that at least.
// Slots without a message take some at once and work on them later. So of what was taken out of a queue that is found
// empty again and again the last messages don't count, as many as all slots can hold, with what waits for them in a
// worker. Workers also take many at once when they get more slots; so an answer counts for no more than
// twice the rate that was known. With one that is far too high the queue would get what takes them long, and every other flow
// would wait behind it. How many nodes go in a message is bounded by the rate as it would be if all was worked on that was
// taken: it is known sooner, and what it is too high by waits in one slot only. While no rate is known the window has room for two nodes a slot, and for four when the queue was
// found empty: with two, workers of short nodes waited for answers half of their time.
//
// Under a backlog each slot also holds a message, and a message that comes later
// waits until one is free. So no message has more nodes than a slot does in a twentieth of a second: nodes of no
// work still go by ten and more, nodes of that length go alone.
//
// # How turns fail
//
//   - The broker does not answer, or can't be asked. After a quarter of a second one window
//     more is offered without its word, after the next quarter twice as much, and so on: in
//     two seconds everything is in the queue, as if there were no windows. The first answer
//     brings them back.
//   - The queue was purged, deleted or made anew: it is empty or not there, so the window is
//     open. What was in it is rung for again by the audit and takes its turn like everything
//     else.
//   - Workers die and their messages go back to the queue, or another leader has filled it,
//     or other partitions do: the answer is higher than what was published here. It counts,
//     so nothing more is offered until the workers have caught up.
//   - There are no workers, or they are all at long work: nothing drains, and the broker is asked
//     four times a second. What is held back has its entry in the outbox, and here a few hundred
//     bytes; the outbox reader hands out no more than it has room for (package outbox).
//   - A broker answers before it has taken in what was published, if it is slow: the queue
//     looks empty. So nothing more is offered while four windows are not confirmed.
//   - The leader ends or is fenced: what is held back was never offered. It stands in the
//     outbox, and the next leader reads it there. Every message is published only after the
//     check of the epoch that its moment needs, held back or not.
//   - Redis or the connection to the broker is away: all that is held back is given back to
//     the reader when it would be its turn, and comes again with its next pass.
//   - What is held back may lose its cycle or its workers meanwhile. It is offered all the
//     same: its claim is refused, or the offer declined, as that of every message is that waited long.
package dispatch
