#!lua flags=allow-oom
-- offer_again: rings for the same attempt once more: its message is lost, or a worker declined it.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] node, [7] attempt, [8] why; 'message lost' and 'queue lost' count as repairs
-- Reply: {1} offered | {2} nothing to do | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
local flow, n, uuid, node, attempt = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local base = cycle_key(flow, n)
local c = redis.call('HMGET', base .. ':status', 'uuid', 'status')
local s = redis.call('HMGET', node_key(base, node), 'status', 'attempt', 'held')
sound_repair()
sound_hold(s[3])
local timer = timer_member('offer', flow, n, uuid, node, attempt)
if c[1] ~= uuid or c[2] ~= 'running' or s[2] ~= attempt or (s[1] ~= 'dispatched' and s[1] ~= 'ready') then
  redis.call('ZREM', P .. ':timers', timer)
  return { 2 }
end
make_ready(base, flow, n, uuid, node, attempt, str(now_ms()), ARGV[8])
unhold(s[3], flow, n, uuid, node, attempt)
redis.call('ZREM', P .. ':timers', timer) -- last: a declined node without it is offered by nobody
redis.call('HSET', node_key(base, node), 'again', '1') -- an older message of this attempt may still come
local cause = ({ ['message lost'] = 'offered, in no queue, and claimed by nobody', ['queue lost'] = 'claimed by nobody when its queue was lost' })[ARGV[8]]
if cause then repaired('message', cause, flow, n, uuid, node, attempt, '') end
return { 1 }
