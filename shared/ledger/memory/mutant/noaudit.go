//go:build mutant_noaudit

package mutant

// Active is the mutant of this build.
const Active = NoAudit
