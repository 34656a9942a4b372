//go:build mutant_servertoken

package mutant

// Active is the mutant of this build.
const Active = ServerToken
