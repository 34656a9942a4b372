//go:build mutant_close_now

package mutant

// Active is the mutant of this build.
const Active = CloseNow
