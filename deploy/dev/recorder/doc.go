// Package recorder is the independent witness of a run: a process of its own that
// writes down every execution before it may begin, on a disk that no fault of the
// run touches.
//
// A worker's record node sends a line over a unix socket. The recorder gives it
// the next number, appends it to its file, syncs the file, and answers. A node
// whose line was not answered does not run: it fails, and the product's retry
// policy decides. So an execution without a line is impossible, and the numbers
// are the order in which executions began and ended. The other way round is
// possible and harmless: a line whose answer was lost is one of an execution that
// never came.
//
// Lines that wait while the file is synced are written together, so that many
// nodes cost one sync.
package recorder
