// Package drill proves that a cluster survives a fault: it lets a canary flow
// tick, injects one fault, measures what the fault cost and gives a verdict.
//
// A round registers a flow of its own, a chain of short delays and a longer one of
// which some step is always about to end, and waits until it ticks. It picks who is to be hit, the leader or the worker that runs the
// chain's longer node, lets a Target inject the fault, and looks at the API in
// short steps until cycles that started after the fault complete again. It then
// heals, lets some more cycles pass so that a process that wakes up can do its
// damage, takes the canary's slots away, waits until nothing of it runs, pauses
// it, has the journal verified over the time of the round, and deletes it.
//
// The times that matter most are taken from the journal afterwards, whose records
// carry the ledger's milliseconds: when the old leader dispatched last and its
// successor first, and when what a lost worker ran began again. The looks at the
// API in between only decide when to go on.
//
// A cluster takes one drill at a time: two at once would blame each other. A
// canary that is there before the first round, or beside the own one, refuses it.
//
// How it fails:
//
//   - A fault that can't be proven makes the round fail, whatever was measured:
//     a drill without a fault proves nothing. The proof is what the Target saw
//     (a process is gone, is stopped, was replaced) or what the API showed (a
//     later epoch, a worker that is gone or new, a server that did not answer).
//   - Calls of the API fail while the fault lasts. They are made again until the
//     deadline of the phase; then the round fails and says what it waited for.
//   - A drill that is interrupted still heals and still deletes its canary. When
//     that fails too, the report says what is left and how to remove it.
//   - Instants of cycles are the cluster's, the instant of the fault is this
//     machine's. Between machines the measures are as good as their clocks agree.
package drill
