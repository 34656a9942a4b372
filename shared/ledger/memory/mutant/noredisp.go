//go:build mutant_noredisp

package mutant

// Active is the mutant of this build.
const Active = NoRedispatch
