#!lua flags=allow-oom
-- block: names what a claimed attempt waits for, for people; it decides nothing.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] node, [7] attempt, [8] token, [9] blocker ('' = it waits no more)
-- Reply: {1} named | {-1} cycle gone | {-2} the claim is another by now
local base = cycle_key(ARGV[3], ARGV[4])
if redis.call('HGET', base .. ':status', 'uuid') ~= ARGV[5] then return { -1 } end
local key = node_key(base, ARGV[6])
local s = redis.call('HMGET', key, 'status', 'attempt', 'token')
if s[1] ~= 'running' or s[2] ~= ARGV[7] or s[3] ~= ARGV[8] then return { -2 } end
if ARGV[9] == '' then redis.call('HDEL', key, 'blocker') else redis.call('HSET', key, 'blocker', ARGV[9]) end
return { 1 }
