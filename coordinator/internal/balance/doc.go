// Package balance spreads the leaderships of the partitions evenly over the
// coordinators.
//
// # What it decides
//
// Every coordinator stands in every partition, so a partition has a leader as soon as
// one coordinator lives, whoever that is: elections do not wait for balance, and balance
// never ends a leadership that has nowhere to go. What is uneven after coordinators
// came and went is made even by hand-overs, one at a time: the coordinator that leads most
// gives a partition to the one that leads least, if it leads two more than that one at
// least. Each hand-over brings the numbers nearer to each other and none is made that another would
// have to undo, so as few partitions move as can: of p partitions on n coordinators,
// a new one is given floor(p/(n+1)), and nothing else moves.
//
// Next is that decision, a pure function of what stands in etcd. Every coordinator
// computes it, and only the one that it names as the giver acts. Two that lead as many
// are told apart by their instances, which all compare alike. Views
// of different age may make two of them give at once: at worst a partition too many moves,
// and the next decision finds it.
//
// # Damping
//
// Nothing is moved while anything else moves. A hand-over is made when every partition
// has had the same leader for a step (500 ms), and the coordinators have been the same
// ones for a calm (3 s): one that starts and dies again and again is given nothing,
// and a rolling restart moves each partition when its leader stops and not in between more
// than needed. A coordinator that does not stand in a partition is given that one no sooner
// than it does.
//
// # What it costs
//
// A hand-over is the election's planned one: the successor is named in one transaction
// and takes over before the old leader has wound up. Who stood between in the line stands
// again. If it fails, the partition goes to whoever is next in line, and the next
// decision starts from there.
package balance
