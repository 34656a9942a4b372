#!lua flags=allow-oom
-- retry: a retry timer is due: the next attempt begins.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] node, [7] attempt that failed
-- Reply: {1} ready | {2} nothing to do | {3, ms} not due yet | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
local flow, n, uuid, node, attempt = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local base = cycle_key(flow, n)
local member = timer_member('retry', flow, n, uuid, node, attempt)
local now, due = now_ms(), redis.call('ZSCORE', P .. ':timers', member)
if due and tonumber(due) > now then return { 3, str(tonumber(due) - now) } end
local c = redis.call('HMGET', base .. ':status', 'uuid', 'status')
local s = redis.call('HMGET', node_key(base, node), 'status', 'attempt')
sound()
redis.call('ZREM', P .. ':timers', member)
if c[1] ~= uuid or c[2] ~= 'running' or s[1] ~= 'retrying' or s[2] ~= attempt then return { 2 } end
redis.call('HDEL', node_key(base, node), 'due')
make_ready(base, flow, n, uuid, node, str(tonumber(attempt) + 1), str(now), 'retry')
return { 1 }
