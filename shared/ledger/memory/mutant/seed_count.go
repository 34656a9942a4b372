//go:build mutant_seed_count

package mutant

// Active is the mutant of this build.
const Active = SeedCount
