//go:build mutant_steal

package mutant

// Active is the mutant of this build.
const Active = Steal
