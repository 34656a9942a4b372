#!lua flags=allow-oom
-- told: the leader has heard of the end of a cycle: its entry goes.
-- ARGV[3] outbox entry, [4] flow, [5] cycle, [6] uuid
-- Reply: {1} | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
redis.call('XLEN', P .. ':outbox')
redis.call('ZREM', P .. ':closing', lease_member(ARGV[4], ARGV[5], ARGV[6], ''))
redis.call('XDEL', P .. ':outbox', ARGV[3])
return { 1 }
