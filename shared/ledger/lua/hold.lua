#!lua flags=allow-oom
-- hold: sets an offer aside because nobody can take it now; release_held brings it back.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] node, [7] attempt, [8] outbox entry, [9] what it waits for (part of the key), [10] blocker
-- Reply: {1} held | {2} nothing to hold | {0, higher epoch}
-- What became of the entry is journalled once: held, or dropped; a repeated hold of what has none left is 'again'.
local higher = fence()
if higher then return { 0, higher } end
local flow, n, uuid, node, attempt = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local base = cycle_key(flow, n)
local key = node_key(base, node)
local s = redis.call('HMGET', key, 'status', 'attempt', 'held')
local found = redis.call('HGET', base .. ':status', 'uuid')
sound()
sound_hold(s[3])
redis.call('SCARD', P .. ':held:' .. ARGV[9])
redis.call('SCARD', P .. ':holds')
local first = redis.call('XDEL', OUTBOX, ARGV[8]) == 1
if found ~= uuid or s[1] ~= 'ready' or s[2] ~= attempt then
  if first and found == uuid then jot('dropped', flow, n, uuid, node, attempt, '', '', ARGV[10]) end
  return { 2 }
end
hold(ARGV[9], flow, n, uuid, node, attempt)
redis.call('HSET', key, 'blocker', ARGV[10], 'held', ARGV[9])
if s[3] ~= ARGV[9] then unhold(s[3], flow, n, uuid, node, attempt) end
jot('held', flow, n, uuid, node, attempt, '', '', ARGV[10] .. (first and '' or ', again'))
return { 1 }
