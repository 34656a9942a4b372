#!lua flags=allow-oom
-- release: a worker that shuts down hands a claim back; no retry budget is used.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] node, [7] attempt, [8] token, [9] the node may have been started (1 or 0)
-- Reply: {1} offered again | {-1} cycle gone | {-2} the claim is not yours any more | {-3} the cycle or component is ending: use fail
--        {-4} an at-most-once node that may have been started is never offered again
local flow, n, uuid, node, attempt, token = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local base = cycle_key(flow, n)
local c = redis.call('HMGET', base .. ':status', 'uuid', 'status', 'revision')
if c[1] ~= uuid then
  refuse(flow, n, uuid, node, attempt, token, '', 'gone')
  return { -1 }
end
local s = redis.call('HMGET', node_key(base, node), 'status', 'attempt', 'token')
if s[1] ~= 'running' or s[2] ~= attempt or s[3] ~= token then
  refuse(flow, n, uuid, node, attempt, token, '', standing(s[1], s[2]))
  return { -2 }
end
local p = redis.call('HMGET', flow_key(flow, 'plan:' .. c[3]), node, node .. ':component')
if c[2] ~= 'running' or redis.call('HEXISTS', base .. ':status', 'component:' .. (p[2] or '')) == 1 then return { -3 } end
-- Without its plan nobody knows how often the node may be started.
if ARGV[9] == '1' and (not p[1] or cjson.decode(p[1]).delivery == 'at_most_once') then return { -4 } end
sound()
redis.call('ZREM', P .. ':leases', lease_member(flow, n, uuid, node))
make_ready(base, flow, n, uuid, node, str(tonumber(attempt) + 1), str(now_ms()), 'released')
return { 1 }
