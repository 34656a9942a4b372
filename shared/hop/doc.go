// Package hop tells what a hop is made of. A hop is the way from the end of one
// node's handler to the end of its successor's: the result is reported, the leader
// reads the outbox, publishes, a worker receives, claims and runs. Each part of it
// calls Pass with the step that it has come to; between two steps lies what one of
// them costs.
//
// Nothing is recorded unless somebody asks for it at the port for profiles
// (--pprof). Until then a Pass is one atomic load that is inlined where it stands:
// it allocates nothing, and a test holds it to that. While a recording lasts, a
// Pass takes a lock and copies an attempt, some 100 ns.
//
// Times are those of the host's clock, so that the steps of several processes on
// one host can be laid side by side. Across hosts they mean nothing.
package hop
