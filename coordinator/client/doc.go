// Package client calls the HTTP API of a Weather Station cluster.
//
// A Client may know several coordinators; any of them answers any call. It
// stays with the one that answered last. How it fails:
//
//   - A coordinator that refuses the connection has seen nothing of the call,
//     so the next one is asked, whatever the call is.
//   - A connection that breaks later, or status 503, moves a call on only when
//     doing it twice equals doing it once. That is every call but DeleteFlow
//     and CancelCycle, whose second answer could hide the first. StartCycle is
//     made so by an idempotency key, which the client makes up when the caller
//     gives none.
//   - Every coordinator is asked at most once for one call. When none could be
//     reached, the error is *Unreachable.
//   - An answer that is an error is *Problem, with the code, the detail and the
//     list of faults that the server gave.
//   - An id that can't exist is refused before anything is sent; the error is
//     *ids.Error.
//
// Runs, of a Client, runs many cycles over one connection. A run moves on as StartCycle
// does, and has one try more when a stream ends without its answer, since a stream may end just as it is
// used. A coordinator that stops, or can't start one run now, gets no new ones; those that it has begun are awaited.
//
// A Client keeps connections open and is safe for use by several goroutines.
package client
