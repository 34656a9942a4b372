//go:build !mutant_overwrite && !mutant_expire_noguard && !mutant_steal && !mutant_cursor && !mutant_redis_claim && !mutant_noaudit && !mutant_xdel_noid && !mutant_noredisp && !mutant_close_now && !mutant_nodedupe && !mutant_notoken && !mutant_seed_count && !mutant_servertoken

package mutant

// Active is the mutant of this build.
const Active = None
