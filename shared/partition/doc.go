// Package partition says which partition a flow is in, and what that partition's
// ledger is called.
//
// # What a partition is
//
// A deployment has a fixed number of partitions, 1 unless it is told otherwise.
// Each is a cluster of its own in all that grows with the number of flows: it has a
// ledger (one prefix, so one slot of a Redis Cluster, with its own outbox, leases,
// timers, clock, journal and epoch), and an election, whose winner leads it. What does
// not grow is shared: the definitions in etcd, the queues, the workers, and the
// coordinators, each of which stands for election in every partition, keeps every flow
// in memory and answers the API for all.
//
// No script, no fence and no decision reaches over two partitions. A flow lives in one,
// with all its cycles, so every guarantee that is kept by the scripts of one ledger and
// by one epoch holds as it did; a leader sees the flows of its partition and no others.
// The loss of one partition's Redis, or of its leader, stops that one alone.
//
// With one partition every key and every name is what it was before there were
// partitions.
//
// # Which one
//
// Of is a pure function of the flow's id and the number of partitions, the same in every
// version of the product: coordinators and workers agree on it without asking each other.
// It is a consistent hash: of n+1 partitions the last takes its flows evenly from
// the n before it, and no other flow moves.
//
// # The number
//
// The number belongs to the deployment and not to a process. The first coordinator
// writes it into etcd (<prefix>/partitions), and one that is set to another number
// refuses to start. An etcd that has flows and no number has one partition. A running
// coordinator writes the number again where etcd has lost it, and ends where etcd has
// another.
//
// Workers have no setting for it. Coordinators of several partitions write the number
// beside the ledgers (<prefix>:partitions in Redis), where workers look with each beat, and every
// task carries it. A worker that has not heard of it takes it to be 1, and then looks
// into a ledger that nobody writes: it is not known to any leader, so it is offered
// nothing. A task tells it at the latest, and it is the task that counts: it was made by
// the leader that published it.
//
// # Changing it
//
// A flow that moves to another partition finds nothing there: its cycles, its
// slots and its numbering stay where they were. So the number is changed while nothing
// runs, by hand, as deploy/SCALE.md tells. There is no way to do it on the fly:
// it would need one step over two ledgers.
package partition
