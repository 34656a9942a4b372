// Package progress decides what comes next in a cycle: whether a node whose
// inputs are decided runs or is skipped, and what the records of a cycle lack.
// It is pure: plans and counts in, decisions out; no clock, no I/O, no client.
//
// # Edges and joins
//
// When a node ends, each of its outgoing edges gets one result, for good: live
// (its value goes on), dead (its handle was not emitted, its condition is false,
// or its source was skipped because a branch was not taken), or failed (its
// source failed, or was skipped because of a failure). A node is decided when
// every edge into it has a result; its join rule then says whether it runs. What
// does not run is skipped, and its own edges become dead, or failed where the
// skip came from a failure, so that a failure stays visible to a join further
// down.
//
//	rule          runs when
//	all_success   every edge is live (the default)
//	all_done      always, once every edge is decided
//	one_success   at least one edge is live
//	none_failed   no edge is failed, and at least one is live
//
// # What the audit repairs
//
// Node states are the only truth; counters, joins, outbox entries, leases and
// timers are caches that a torn or rolled-back Redis may have lost. Audit
// derives all of them again from the states and lists what differs. Each repair
// is carried out by a script that compares the state the audit saw, so a repair
// that comes too late does nothing. Without loss of data in Redis the list is
// empty.
package progress
