// Package chaos does to real clusters what the world does: it kills, stops,
// starves and cuts off processes and servers while flows run, and judges what
// came of it.
//
// # How a row is judged
//
// A row of the fault matrix brings one kind of fault about, N times, at moments
// drawn from a seed, on a cluster under load. Then it heals everything, ends the
// schedules, and demands within 30 s that nothing is left: no open cycle, outbox
// entry, lease, timer or task. What the journal, the recorder outside the ledger,
// the API and the logs tell is held against the guarantees by package histcheck,
// and the product's own audit has to be clean. A fault that was not brought about
// fails the row: it would prove nothing. A failed row leaves its evidence in a
// folder, and its seed.
//
// Before the first fault flows like those of the row run and are removed again: what
// processes and Redis hold then is the baseline. At the end the row's flows are removed
// too, and what is held has to come back to it, or something leaks with each fault.
//
// # What a seed repeats
//
// The flows, the kinds of fault, their order, the drawn moments and durations.
// Which process holds what at a moment is up to the machine, so a replay brings
// the same faults about in a run that is alike, not equal.
//
// # Rows
//
// Rows lists every row, those that are not run with the reason why; Invariants what
// has to hold through all of them, and where that is checked.
package chaos
