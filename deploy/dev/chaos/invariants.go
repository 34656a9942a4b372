package chaos

// Invariant is something that has to hold through every fault.
type Invariant struct {
	ID    string `json:"invariant"`
	Title string `json:"holds"`
	Where string `json:"where,omitempty"` // what checks it, and after what
	Not   string `json:"not,omitempty"`   // what of it is not checked, and why
}

// Invariants returns all of them. "After each" is after each row of a run and each
// phase of a soak. A rule is one of package histcheck or of verify, by its name.
func Invariants() []Invariant {
	return []Invariant{
		{ID: "I1", Title: "every slot makes one cycle or is skipped with a reason",
			Where: "after each: histcheck slots (each on the grid, once, without a gap, not early), verify slots and counters",
			Not:   "how late a slot may start has no limit of its own; T1, T2 limit the next dispatch after the leader's end, T26 measures lateness"},
		{ID: "I2", Title: "each node of an ended cycle has one counted outcome, and counters equal states",
			Where: "after each: histcheck outcome, answer and run (what counts as done was done), verify outcomes and counters"},
		{ID: "I3", Title: "no node starts before the outcome of every input",
			Where: "after each: histcheck inputs, in the journal and in the recorder's lines; verify inputs"},
		{ID: "I4", Title: "an at-most-once node starts once at most, whatever Redis forgets",
			Where: "after each: histcheck at_most_once, by intent over the recorder's whole log; verify once"},
		{ID: "I5", Title: "no node starts again without a cause",
			Where: "after each: histcheck run (each attempt runs once, under a claim, and each after the first because the one before was revoked, handed back or failed), verify attempts",
			Not:   "after Redis lost writes: their causes are lost with them"},
		{ID: "I6", Title: "a cycle ends once, and nothing is claimed or started after that",
			Where: "after each: histcheck cycle, claim and run (a start within a second of the end, or under a claim that was revoked, is let pass), verify ends"},
		{ID: "I7", Title: "30 s after everything is healed nothing is under way",
			Where: "after each: no open cycle, outbox entry, lease, timer or ready task (rig Quiesce), histcheck cycle; verify state"},
		{ID: "I8", Title: "the epochs of accepted writes never fall",
			Where: "after each: histcheck epoch, verify epochs"},
		{ID: "I9", Title: "keys, goroutines, descriptors and memory come back to their baseline",
			Where: "after each without a violation, but for the short set and T8: every flow is removed; then no key of a flow, and others those of an empty cluster + 5 % (but for counters of fixed names), and goroutines, file descriptors and live heap (after a forced collection) of leader, standbys and workers at most 5 % over what they were before the first fault, with flows like these run and removed (rig Holdings)",
			Not:   "a process is allowed at least 24 goroutines, 8 descriptors, 3 MiB and the buffers of connections to Redis more, and these up to the size of the pool; a process that was started anew is held to its role's baseline; resident memory, which the kernel decides"},
		{ID: "I10", Title: "what the API acknowledged is there afterwards; the registry is linearizable",
			Where: "after each: every registered flow is there, and the API tells of ended cycles what the journal tells (histcheck answer)",
			Not:   "linearizability: no history of concurrent calls is recorded, so there is nothing to search; T30 races calls and looks at what is left of deleted flows"},
		{ID: "I11", Title: "no panic, no data race, no error in the log",
			Where: "after each: the logs of every coordinator and worker, for panics, fatal errors and, with --race, data races",
			Not:   "lines of level ERROR are not held against a run: under faults there are right ones"},
		{ID: "I12", Title: "nothing is repaired unless Redis lost writes",
			Where: "after each: histcheck repair; a message that RabbitMQ or a worker lost may be sent again"},
	}
}
