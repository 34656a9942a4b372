#!lua flags=allow-oom
-- mend_flow: counts a flow's open cycles anew and lists those the set of active cycles lacks.
-- ARGV[3] flow, [4] the count that was seen ('' = none)
-- Reply: {1, open, listed} mended | {2} is otherwise by now | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
local flow = ARGV[3]
local key = flow_key(flow, 'state')
local s = redis.call('HMGET', key, 'active', 'status', 'last_cycle')
if (s[1] or '') ~= ARGV[4] or not s[2] or s[2] == 'deleting' then return { 2 } end
local open, listed, cycles = 0, 0, flow_key(flow, 'cycles')
sound_repair()
redis.call('ZCARD', P .. ':active')
local names = redis.call('ZRANGE', cycles, 0, -1)
-- A start that was torn has numbered its cycle and not listed it.
if s[3] and s[3] ~= '0' and not redis.call('ZSCORE', cycles, s[3]) then names[#names + 1] = s[3] end
for _, n in ipairs(names) do
  local c = redis.call('HMGET', cycle_key(flow, n) .. ':status', 'status', 'uuid', 'started_at')
  if (c[1] == 'running' or c[1] == 'cancelling') and c[2] then
    open = open + 1
    listed = listed + redis.call('ZADD', cycles, 'NX', c[3] or '0', n)
    listed = listed + redis.call('ZADD', P .. ':active', 'NX', c[3] or '0', flow .. '|' .. n .. '|' .. c[2])
  end
end
if listed == 0 and str(open) == s[1] then return { 2 } end
redis.call('HSET', key, 'active', str(open))
repaired('active', 'the count of open cycles differs from the cycles listed as open', flow, '0', '', '', '0', '')
return { 1, open, listed }
