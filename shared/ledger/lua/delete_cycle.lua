#!lua flags=allow-oom
-- delete_cycle: removes a cycle: an ended one past its retention, or any one of a flow that is being deleted.
-- ARGV[3] flow, [4] cycle, [5] last part (1 or 0), [6..] node ids whose records, leases, timers and holds go (at most 256)
-- A running cycle is first marked deleting: from then on no verb offers, claims or counts in it, so that
-- what the earlier parts removed does not come back.
-- Reply: {1} | {0, higher epoch} | {-1} no such cycle | {-2} not ended
local higher = fence()
if higher then return { 0, higher } end
local flow, n = ARGV[3], ARGV[4]
local base = cycle_key(flow, n)
local state = flow_key(flow, 'state')
local c = redis.call('HMGET', base .. ':status', 'uuid', 'status', 'archived', 'revision', 'trigger_key')
local uuid = c[1] or ''
local open = c[1] and (c[2] == 'running' or c[2] == 'cancelling')
local status = redis.call('HGET', state, 'status')
if open and status ~= 'deleting' then return { -2 } end
sound()
redis.call('ZCARD', P .. ':active')
redis.call('ZCARD', P .. ':closing')
redis.call('ZCARD', flow_key(flow, 'cycles'))
redis.call('HLEN', flow_key(flow, 'triggers'))
local found = {}
for i = 6, #ARGV do
  found[i] = redis.call('HMGET', node_key(base, ARGV[i]), 'attempt', 'held')
  sound_hold(found[i][2])
end
if open then redis.call('HSET', base .. ':status', 'status', 'deleting') end
for i = 6, #ARGV do
  local node, attempt = ARGV[i], found[i][1]
  if attempt then
    unhold(found[i][2], flow, n, uuid, node, attempt)
    redis.call('ZREM', P .. ':leases', lease_member(flow, n, uuid, node))
    redis.call('ZREM', P .. ':timers', timer_member('retry', flow, n, uuid, node, attempt), timer_member('offer', flow, n, uuid, node, attempt))
    redis.call('UNLINK', node_key(base, node))
  end
end
if ARGV[5] ~= '1' then return { 1 } end
redis.call('UNLINK', base .. ':status', base .. ':joins', base .. ':outputs', base .. ':archive')
redis.call('ZREM', flow_key(flow, 'cycles'), n)
redis.call('ZREM', P .. ':active', flow .. '|' .. n .. '|' .. uuid)
redis.call('ZREM', P .. ':closing', lease_member(flow, n, uuid, ''))
redis.call('ZREM', P .. ':timers', timer_member('deadline', flow, n, uuid, '', '0'))
if not c[1] then return { -1 } end
if c[5] and c[5] ~= '' then redis.call('HDEL', flow_key(flow, 'triggers'), c[5]) end
if c[3] ~= '1' and status then
  local field = 'plan:' .. c[4]
  if redis.call('HINCRBY', state, field, -1) <= 0 and redis.call('HGET', state, 'revision') ~= c[4] then
    redis.call('UNLINK', flow_key(flow, field))
    redis.call('HDEL', state, field)
  end
end
jot('cycle_removed', flow, n, uuid, '', '0', '', '', c[2] or '')
return { 1 }
