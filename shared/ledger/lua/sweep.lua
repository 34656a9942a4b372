#!lua flags=allow-oom
-- sweep: gives the nodes of an ending cycle or component that do not run their final status, a part at a time.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] status (stopped | skipped | cancelled), [7] reason, [8] outbox entry ('' = more parts follow),
-- ARGV[9] node whose end ends its component, or component:NUMBER for the mark of its end ('' = the cycle's end), [10..] node ids (at most 256)
-- Reply: {1, counted} | {0, higher epoch} | {-1} cycle gone or ended | {-2} it is not ending (any more): Redis went back in time
local higher = fence()
if higher then return { 0, higher } end
local flow, n, uuid, status = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local base = cycle_key(flow, n)
local c = redis.call('HMGET', base .. ':status', 'uuid', 'status')
sound_cycle(base, flow)
if c[1] ~= uuid or (c[2] ~= 'running' and c[2] ~= 'cancelling') then
  if ARGV[8] ~= '' then redis.call('XDEL', OUTBOX, ARGV[8]) end
  return { -1 }
end
local ending
if ARGV[9] == '' then
  ending = c[2] == 'cancelling'
elseif string.find(ARGV[9], ':', 1, true) then
  ending = redis.call('HEXISTS', base .. ':status', ARGV[9]) == 1
else
  ending = ({ failed = true, unknown = true, stopped = true })[redis.call('HGET', node_key(base, ARGV[9]), 'status')]
end
if not ending then
  if ARGV[8] ~= '' then redis.call('XDEL', OUTBOX, ARGV[8]) end
  return { -2 }
end
local now, counted, found = str(now_ms()), 0, {}
for i = 10, #ARGV do
  found[i] = redis.call('HMGET', node_key(base, ARGV[i]), 'status', 'attempt', 'held')
  sound_hold(found[i][3])
end
if ARGV[8] ~= '' then redis.call('XDEL', OUTBOX, ARGV[8]) end
for i = 10, #ARGV do
  local node, s = ARGV[i], found[i]
  if not FINAL[s[1]] and s[1] ~= 'running' then
    local attempt = s[2] or '0'
    redis.call('ZREM', P .. ':timers', timer_member('retry', flow, n, uuid, node, attempt), timer_member('offer', flow, n, uuid, node, attempt))
    unhold(s[3], flow, n, uuid, node, attempt)
    redis.call('HSET', node_key(base, node), 'status', status, 'reason', ARGV[7]) -- together: see decide
    finish(base, flow, n, uuid, node, attempt, status, now, '', '', ARGV[7])
    counted = counted + 1
  end
end
close(base, flow, n, uuid, now)
return { 1, counted }
