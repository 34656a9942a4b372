#!lua flags=allow-oom
-- pause_flow: from its return on, no cycle of the flow starts and no claim is granted.
-- ARGV[3] flow
-- Reply: {1} paused | {2} was paused | {-1} no such flow
local key = flow_key(ARGV[3], 'state')
local status = redis.call('HGET', key, 'status')
if not status or status == 'deleting' then return { -1 } end
if status == 'paused' then return { 2 } end
redis.call('XLEN', JOURNAL)
local now = str(now_ms())
redis.call('HSET', key, 'status', 'paused', 'paused_at', now)
jot('flow_paused', ARGV[3], '0', '', '', '0', '', '', '')
return { 1 }
