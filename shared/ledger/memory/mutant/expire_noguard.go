//go:build mutant_expire_noguard

package mutant

// Active is the mutant of this build.
const Active = ExpireNoGuard
