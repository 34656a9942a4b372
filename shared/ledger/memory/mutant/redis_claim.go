//go:build mutant_redis_claim

package mutant

// Active is the mutant of this build.
const Active = RedisClaim
