//go:build mutant_cursor

package mutant

// Active is the mutant of this build.
const Active = Cursor
