#!lua flags=allow-oom
-- decline: a worker was offered a node type it does not carry; the offer is made again a little later.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] node, [7] attempt, [8] longest delay (ms), [9] worker
-- Reply: {1} | {-1} cycle gone | {-2} attempt is over, claimed or another
local flow, n, uuid, node, attempt = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local base = cycle_key(flow, n)
if redis.call('HGET', base .. ':status', 'uuid') ~= uuid then return { -1 } end
local key = node_key(base, node)
local s = redis.call('HMGET', key, 'status', 'attempt', 'declines')
if s[2] ~= attempt or (s[1] ~= 'ready' and s[1] ~= 'dispatched') then return { -2 } end
sound()
-- The broker offers in turn, so a pool of many slots declines often before the
-- right worker is met: the first declines wait little.
local declines, delay = tonumber(s[3] or '0') + 1, tonumber(ARGV[8])
if declines <= 64 then delay = math.min(delay, 10) end
redis.call('ZADD', P .. ':timers', str(now_ms() + delay), timer_member('offer', flow, n, uuid, node, attempt)) -- first, see offer_again
redis.call('HSET', key, 'status', 'dispatched', 'blocker', 'declined', 'declines', str(declines))
post('timer', flow, n, uuid, node, attempt)
jot('declined', flow, n, uuid, node, attempt, '', ARGV[9], '')
return { 1 }
