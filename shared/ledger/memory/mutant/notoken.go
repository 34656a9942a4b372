//go:build mutant_notoken

package mutant

// Active is the mutant of this build.
const Active = NoToken
