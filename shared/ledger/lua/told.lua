#!lua flags=allow-oom
-- told: the leader has heard of the ends of cycles: their entries go.
-- ARGV[3..] groups of four: outbox entry, flow, cycle, uuid (at most 128 groups)
-- Reply: {1} | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
redis.call('XLEN', OUTBOX)
for i = 3, #ARGV, 4 do
  redis.call('ZREM', P .. ':closing', lease_member(ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ''))
  redis.call('XDEL', OUTBOX, ARGV[i])
end
return { 1 }
