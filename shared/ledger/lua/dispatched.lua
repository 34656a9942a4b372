#!lua flags=allow-oom
-- dispatched: the broker confirmed these offers; their outbox entries go.
-- ARGV[3..] groups of six, by entry id: entry id, flow, cycle, uuid, node, attempt (at most 128 groups)
-- Reply: {1, marked} | {0, higher epoch}
-- A node that was claimed or finished meanwhile keeps its state: only ready and
-- the same attempt becomes dispatched, and only if it was not set aside meanwhile.
local higher = fence()
if higher then return { 0, higher } end
sound_journal()
local now, marked = str(now_ms()), 0
local keys, found, first = {}, {}, {}
local flow, n, base, uuid
for i = 3, #ARGV, 6 do
  if ARGV[i + 1] ~= flow or ARGV[i + 2] ~= n then -- they come cycle by cycle
    flow, n = ARGV[i + 1], ARGV[i + 2]
    base = cycle_key(flow, n)
    uuid = redis.call('HGET', base .. ':status', 'uuid')
  end
  if uuid == ARGV[i + 3] then
    keys[i] = node_key(base, ARGV[i + 4])
    found[i] = redis.call('HMGET', keys[i], 'status', 'attempt', 'held')
  end
end
-- Before the states: of a script that tears an entry is gone and a node ready, which the audit finds.
-- Where these are the oldest entries, and all of those, they are cut off. To take one out Redis looks at those stored
-- before it, and whenever a stream loses its first entry it looks for the next: so from the last to the first.
local count, last = (#ARGV - 2) / 6, ARGV[#ARGV - 5]
local there = redis.call('XRANGE', OUTBOX, '-', last, 'COUNT', count + 1)
local oldest = #there == count
for k = 1, #there do
  if there[k][1] ~= ARGV[6 * k - 3] then oldest = false end
end
if oldest then
  local ms, seq = string.match(last, '^(%d+)-(%d+)$')
  redis.call('XTRIM', OUTBOX, 'MINID', '=', ms .. '-' .. str(tonumber(seq) + 1))
end
for i = #ARGV - 5, 3, -6 do first[i] = oldest or redis.call('XDEL', OUTBOX, ARGV[i]) == 1 end
gather()
for i = 3, #ARGV, 6 do
  if found[i] and first[i] then jot('dispatch', ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], '', '', '') end
end
jot_gathered()
for i = 3, #ARGV, 6 do
  local s = found[i]
  if s and s[1] == 'ready' and s[2] == ARGV[i + 5] and not s[3] then
    redis.call('HSET', keys[i], 'status', 'dispatched', 'dispatched_at', now)
    marked = marked + 1
  end
end
return { 1, marked }
