// Package taskqueuetest checks implementations of the contract in package
// taskqueue, and helps to test what stands on it: Run is the conformance suite,
// Faulty a publisher that fails on purpose.
//
// The suite proves each precondition before it acts on it (a slot that must be
// waiting is seen as a consumer first), and waits for events with a deadline,
// never for a fixed time.
package taskqueuetest
