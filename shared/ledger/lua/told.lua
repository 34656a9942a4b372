#!lua flags=allow-oom
-- told: the leader has heard of the ends of cycles: their entries go.
-- ARGV[3..] groups of four: outbox entry, flow, cycle, uuid (at most 128 groups)
-- Reply: {1} | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
redis.call('XLEN', OUTBOX)
local members, entries = {}, {}
for i = #ARGV - 3, 3, -4 do -- from the last to the first, see dispatched
  members[#members + 1] = lease_member(ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], '')
  entries[#entries + 1] = ARGV[i]
end
if entries[1] then
  redis.call('ZREM', P .. ':closing', unpack(members))
  redis.call('XDEL', OUTBOX, unpack(entries))
end
return { 1 }
