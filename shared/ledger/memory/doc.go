// Package memory is the ledger in pure Go: the same typed verbs as package
// ledger, for tests and for the simulation of the protocol. No program links it.
//
// # What it is for
//
// It is the second reading of the rules that the Lua scripts carry out, written
// from their headers and from package ledger's doc.go. Both pass the suite of
// package ledgertest, and random sequences of calls leave both with the same
// records (ledgertest.Twins): what one of them forgets, the other shows.
//
// It runs thousands of times faster than a server, its clock is an argument, and
// it can lose: Rewind takes back the last writes one by one, as Redis does that
// falls back to an older state. Between two calls that is a replica that lags or
// an append-only file that was cut; in the middle of a call it is a torn script,
// of which the first writes stay. After it, everything goes on.
//
// # How it fails
//
// By itself it never does. A call that takes effect and whose answer is lost, one
// that never arrives, and an outage are for the caller to play, around these
// calls. It keeps no keys of wrong types, and its journal is not capped. What
// Redis refuses for want of memory is not modelled.
//
// # Mutants
//
// Built with a tag of package mutant, one rule of the protocol is broken, and the
// simulation has to find that. Builds without such a tag contain none of it.
package memory
