//go:build mutant_overwrite

package mutant

// Active is the mutant of this build.
const Active = Overwrite
