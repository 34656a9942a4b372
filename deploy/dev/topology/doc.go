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
package topology
