#!lua flags=allow-oom
-- resume_flow: lets the flow's schedule and its held nodes go on.
-- ARGV[3] flow
-- Reply: {1} resumed | {2} was not paused | {-1} no such flow
local key = flow_key(ARGV[3], 'state')
local status = redis.call('HGET', key, 'status')
if not status or status == 'deleting' then return { -1 } end
if status ~= 'paused' then return { 2 } end
sound()
redis.call('HSET', key, 'status', 'active')
redis.call('HDEL', key, 'paused_at')
post('release', ARGV[3], '0', '', '', '0')
jot('flow_resumed', ARGV[3], '0', '', '', '0', '', '', '')
return { 1 }
