//go:build mutant_nodedupe

package mutant

// Active is the mutant of this build.
const Active = NoDedupe
