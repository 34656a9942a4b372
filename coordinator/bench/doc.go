// Package bench measures a running cluster under loads of a few shapes, and
// beside it, on the same servers and in turns, the floor: the least that Redis and
// RabbitMQ need for such work. It gives the ratio of the two.
//
// # What is timed
//
// A run lasts from the first call that starts a cycle until the end of the last
// one was seen through the API: that is what a user gets who runs many cycles over one
// connection (POST /runs). How long single nodes
// and cycles took, and how late slots were, stands in the journal, whose instants
// are those of Redis, in whole milliseconds. For the floor the same is taken from
// its driver.
//
// The first run of each shape is a warm-up and not counted. Then floor and cluster
// take turns, and a figure's ratio is the median of the ratios of each turn, so
// that what else the machine does weighs on both.
//
// CPU is that of the servers and of the coordinators and workers, read from /proc
// before and after the run; the benchmark's own, which plays the user, is told
// apart. The floor's driver does a user's work as well, and is counted.
//
// # How it fails
//
//   - A cycle that does not complete, or a call that is refused, ends the
//     benchmark: its figures would not be those of the shape.
//   - The flows that it registers have a prefix of their own, and are deleted at
//     the end, also after an error or an interrupt. When that fails too, the error
//     names the prefix.
//   - The journal is capped. Figures from it are of what it still has.
package bench
