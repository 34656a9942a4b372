#!lua flags=allow-oom
-- fail: ends an attempt that failed: a retry timer while the policy grants one, else the node's final failure.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] node, [7] attempt, [8] token, [9] error class, [10] error, [11] retries granted in all
-- (0 = none: also for classes that no retry cures), [12] delay (ms), [13] on_failure, [14] component, [15] successors in all,
-- ARGV[16] of those given here (at most 256), [17..] groups of six (see weigh), counted only under on_failure continue
-- Reply: {1} final | {3, due} will be tried again (repeated: the same) | {2} was counted before | {-1} cycle gone | {-2} the claim is not yours any more
local flow, n, uuid, node, attempt, token = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local base = cycle_key(flow, n)
local component = 'component:' .. ARGV[14]
local c = redis.call('HMGET', base .. ':status', 'uuid', 'status', component)
if c[1] ~= uuid then
  refuse(flow, n, uuid, node, attempt, token, '', 'gone')
  return { -1 }
end
local key = node_key(base, node)
local s = redis.call('HMGET', key, 'status', 'attempt', 'token', 'retry_count', 'worker', 'failed_token', 'due')
if s[6] == token and s[2] == attempt then
  if s[1] == 'retrying' then return { 3, s[7] or '0' } end
  return { 2 }
end
if s[1] ~= 'running' or s[2] ~= attempt or s[3] ~= token then
  refuse(flow, n, uuid, node, attempt, token, '', standing(s[1], s[2]))
  return { -2 }
end
sound_cycle(base, flow)
local now, retries = now_ms(), tonumber(s[4] or '0')
local open = c[2] == 'running' and not c[3]
redis.call('ZREM', P .. ':leases', lease_member(flow, n, uuid, node))
redis.call('HSET', key, 'error_message', ARGV[10], 'error_class', ARGV[9], 'failed_token', token)
if open and retries < tonumber(ARGV[11]) then
  local due = str(now + tonumber(ARGV[12]))
  redis.call('HSET', key, 'status', 'retrying', 'retry_count', str(retries + 1), 'due', due)
  redis.call('HDEL', key, 'token')
  redis.call('ZADD', P .. ':timers', due, timer_member('retry', flow, n, uuid, node, attempt))
  post('timer', flow, n, uuid, node, attempt)
  jot('retry_later', flow, n, uuid, node, attempt, token, s[5] or '', due)
  return { 3, due }
end
if not open then
  finish(base, flow, n, uuid, node, attempt, c[2] ~= 'running' and 'cancelled' or 'stopped', str(now), token, s[5] or '', ARGV[9])
else
  finish(base, flow, n, uuid, node, attempt, 'failed', str(now), token, s[5] or '', ARGV[9])
  give_up(base, flow, n, uuid, node, attempt, ARGV[10], ARGV[13], component, 15, now)
end
close(base, flow, n, uuid, str(now))
return { 1 }
