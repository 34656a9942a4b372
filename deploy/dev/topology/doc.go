// Package topology runs a whole cluster inside one process: an embedded etcd, an
// embedded Redis, the in-process task queue, and on them any number of
// coordinators and workers. The parts are wired by coordinator.Run and
// worker.Run, the same functions the production binaries call; each has its own
// connections and its own listener, so that a part can be stopped and started
// alone.
//
// # What it proves and what not
//
// It shows that the parts work together, and what a failover of a coordinator
// looks like. It shows nothing of speed (the embedded Redis runs Lua about ten
// times slower than the real one) and nothing of durability: the ledger and the
// queues go with the process. Only the flows are kept, in etcd, when EtcdDir is
// given; their cycles count from 1 again after a restart.
//
// # Order
//
// Servers come first, then the workers, then the coordinators, so that a leader
// finds somebody to work. It ends in reverse: once no coordinator leads, no
// cycle begins and no task is offered; the workers finish the nodes they run and
// leave; the servers go last. A part that ends without being asked ends the
// whole, as the supervisor of a real process would notice.
//
// # Faults
//
// A part can be stopped, killed and started again, by the methods of Topology or
// over HTTP at a port that is off unless it is asked for and that a loopback address
// must have. A kill plays the death of a process: the part loses its connections to
// etcd, Redis and the queue first, its ports and whatever was accepted there next, and
// only then its goroutines are told. So its election key is left to whoever proves it
// dead, or to the lease; its claims and its record are left to the leader; its messages
// are delivered to others. What its goroutines still do to end in order reaches nobody and
// is not logged; they end within the leadership's time to live and are waited for at the
// end of the whole. The one thing that differs from a real death: a handler that takes no
// notice of its context goes on, and an effect that it has outside the cluster with it.
//
// A part that is started again has its id and its address, and nothing else of its
// earlier life. Pauses, faults of links and restarts of servers are refused: one process
// can't have them without pretending.
package topology
