#!lua flags=allow-oom
-- expire: the leader revokes a claim whose worker is lost. It names attempt and token, so it happens once.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] node, [7] attempt, [8] token, [9] losses a node survives,
-- ARGV[10] at-most-once: 0 = no | 1 = it may have been started: never again | 2 = it was not, etcd has no once-key,
-- ARGV[11] on_failure, [12] component, [13] cause, [14] successors in all, [15] of those given here (at most 256), [16..] groups of six
-- Reply: {1} offered again | {3, status} ended for good | {0, higher epoch} | {-1} cycle gone | {-2} the claim is another by now
local higher = fence()
if higher then return { 0, higher } end
local flow, n, uuid, node, attempt, token = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local base = cycle_key(flow, n)
local component = 'component:' .. ARGV[12]
local member = lease_member(flow, n, uuid, node)
sound_cycle(base, flow)
local c = redis.call('HMGET', base .. ':status', 'uuid', 'status', component)
if c[1] ~= uuid then
  redis.call('ZREM', P .. ':leases', member)
  return { -1 }
end
local key = node_key(base, node)
local s = redis.call('HMGET', key, 'status', 'attempt', 'token', 'lost', 'worker')
if s[1] ~= 'running' then
  redis.call('ZREM', P .. ':leases', member)
  return { -2 }
end
if s[2] ~= attempt or s[3] ~= token then return { -2 } end
if ARGV[13] == 'lease over' then -- a renewal may have come since the leader looked
  local ends = redis.call('ZSCORE', P .. ':leases', member)
  if ends and tonumber(ends) > now_ms() then return { -2 } end
end
local now, lost = now_ms(), tonumber(s[4] or '0') + 1
redis.call('ZREM', P .. ':leases', member)
redis.call('HSET', key, 'lost', str(lost))
jot('expire', flow, n, uuid, node, attempt, token, s[5] or '', ARGV[13] .. (ARGV[10] == '2' and ', no once-key' or ''))
local open, final, why = c[2] == 'running' and not c[3], nil, nil
if not open then
  final, why = c[2] ~= 'running' and 'cancelled' or 'stopped', 'worker lost while ending'
elseif ARGV[10] == '1' then
  final, why = 'unknown', 'its worker was lost after the claim; at_most_once is never started again'
elseif lost > tonumber(ARGV[9]) then
  final, why = 'failed', 'its worker was lost ' .. str(lost) .. ' times: given up'
end
if not final then
  make_ready(base, flow, n, uuid, node, str(tonumber(attempt) + 1), str(now), 'lost')
  return { 1 }
end
redis.call('HSET', key, 'error_message', why, 'error_class', 'lost')
finish(base, flow, n, uuid, node, attempt, final, str(now), token, s[5] or '', 'lost')
if open then give_up(base, flow, n, uuid, node, attempt, why, ARGV[11], component, 14, now) end
close(base, flow, n, uuid, str(now))
return { 3, final }
