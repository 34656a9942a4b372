// Package histcheck judges a run by what the journal tells, by what nodes did
// outside the ledger, and by what the API answers afterwards. It is offline, and
// written from the guarantees that the product gives: it knows nothing of how
// they are kept, no key, no script, no state of a node.
//
// # What a violation means
//
// Journal entries are written in the same step as the transition they tell of,
// so their order is the order in which things happened, on one clock. One entry
// is late by nature: "dispatch" is written when the leader hears the broker's
// confirm, and a quick worker has finished the node by then. It has to follow
// the offer it belongs to, and that is all its place tells.
//
// # The witness
//
// A recorder outside the ledger numbers and syncs a line before a node may run,
// and another when it has run. Its log survives everything that happens to the
// servers, so what it says of executions is held against the journal, and after
// Redis has lost a part of the journal it is the only witness left.
package histcheck
