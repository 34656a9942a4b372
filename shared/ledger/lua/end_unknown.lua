#!lua flags=allow-oom
-- end_unknown: the holder of a claim learned that its at-most-once node may have been started before: it ends unknown.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] node, [7] attempt, [8] token, [9] why, [10] on_failure, [11] component,
-- ARGV[12] successors in all, [13] of those given here (at most 256), [14..] groups of six (see weigh)
-- Reply: {1} counted | {2} was counted before | {-1} cycle gone | {-2} the claim is not yours any more
-- As for a lost at-most-once node: the failure policy applies, and in an ending cycle it is cancelled or stopped.
local flow, n, uuid, node, attempt, token = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local base = cycle_key(flow, n)
local component = 'component:' .. ARGV[11]
local c = redis.call('HMGET', base .. ':status', 'uuid', 'status', component)
if c[1] ~= uuid then
  refuse(flow, n, uuid, node, attempt, token, '', 'gone')
  return { -1 }
end
local key = node_key(base, node)
local s = redis.call('HMGET', key, 'status', 'attempt', 'token', 'worker', 'error_class')
if FINAL[s[1]] and s[2] == attempt and s[3] == token and s[5] == 'once' then return { 2 } end
if s[1] ~= 'running' or s[2] ~= attempt or s[3] ~= token then
  refuse(flow, n, uuid, node, attempt, token, '', standing(s[1], s[2]))
  return { -2 }
end
sound_cycle(base, flow)
local now = now_ms()
local open = c[2] == 'running' and not c[3]
local final = open and 'unknown' or (c[2] ~= 'running' and 'cancelled' or 'stopped')
redis.call('ZREM', P .. ':leases', lease_member(flow, n, uuid, node))
redis.call('HSET', key, 'error_message', ARGV[9], 'error_class', 'once')
finish(base, flow, n, uuid, node, attempt, final, str(now), token, s[4] or '', 'once-key of another')
if open then give_up(base, flow, n, uuid, node, attempt, ARGV[9], ARGV[10], component, 12, now) end
close(base, flow, n, uuid, str(now))
return { 1 }
