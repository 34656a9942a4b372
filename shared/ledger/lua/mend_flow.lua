#!lua flags=allow-oom
-- mend_flow: counts a flow's open cycles anew and lists those the set of active cycles lacks.
-- ARGV[3] flow, [4] the count that was seen
-- Reply: {1, open, listed} mended | {2} is otherwise by now | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
local flow = ARGV[3]
local key = flow_key(flow, 'state')
local s = redis.call('HMGET', key, 'active', 'status')
if s[1] ~= ARGV[4] or s[2] == 'deleting' then return { 2 } end
local open, listed = 0, 0
redis.call('XLEN', P .. ':journal')
redis.call('ZCARD', P .. ':active')
for _, n in ipairs(redis.call('ZRANGE', flow_key(flow, 'cycles'), 0, -1)) do
  local c = redis.call('HMGET', cycle_key(flow, n) .. ':status', 'status', 'uuid', 'started_at')
  if c[1] == 'running' or c[1] == 'cancelling' then
    open = open + 1
    listed = listed + redis.call('ZADD', P .. ':active', 'NX', c[3] or '0', flow .. '|' .. n .. '|' .. c[2])
  end
end
redis.call('HSET', key, 'active', str(open))
jot('repair', flow, '0', '', '', '0', '', '', 'active')
return { 1, open, listed }
