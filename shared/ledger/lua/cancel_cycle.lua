#!lua flags=allow-oom
-- cancel_cycle: from its return on, no claim is granted in the cycle; what runs is told to stop at its next heartbeat.
-- ARGV[3] flow, [4] cycle, [5] uuid ('' = whatever it is), [6] cause (cancelled | timeout)
-- Reply: {1} cancelling | {2, status} was ending or ended | {0, higher epoch} | {-1} no such cycle | {3, ms} deadline not reached
local higher = fence()
if higher then return { 0, higher } end
local flow, n = ARGV[3], ARGV[4]
local base = cycle_key(flow, n)
local c = redis.call('HMGET', base .. ':status', 'uuid', 'status', 'deadline')
sound()
local member = timer_member('deadline', flow, n, c[1] or ARGV[5], '', '0')
if not c[1] or (ARGV[5] ~= '' and c[1] ~= ARGV[5]) then
  if ARGV[6] == 'timeout' then redis.call('ZREM', P .. ':timers', timer_member('deadline', flow, n, ARGV[5], '', '0')) end
  return { -1 }
end
if c[2] ~= 'running' then
  redis.call('ZREM', P .. ':timers', member)
  return { 2, c[2] }
end
local now = now_ms()
if ARGV[6] == 'timeout' then
  if c[3] and tonumber(c[3]) > now then return { 3, str(tonumber(c[3]) - now) } end
  redis.call('HSETNX', base .. ':status', 'error', 'cycle_timeout passed')
end
redis.call('HSET', base .. ':status', 'status', 'cancelling', 'cause', ARGV[6])
redis.call('ZREM', P .. ':timers', member)
post('sweep', flow, n, c[1], '', '0')
jot('cycle_cancel', flow, n, c[1], '', '0', '', '', ARGV[6])
return { 1 }
