#!lua flags=allow-oom
-- release: a worker that shuts down hands a claim back; no retry budget is used.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] node, [7] attempt, [8] token
-- Reply: {1} offered again | {-1} cycle gone | {-2} the claim is not yours any more | {-3} the cycle or component is ending: use fail
local flow, n, uuid, node, attempt, token = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local base = cycle_key(flow, n)
local c = redis.call('HMGET', base .. ':status', 'uuid', 'status', 'revision')
if c[1] ~= uuid then return { -1 } end
local s = redis.call('HMGET', node_key(base, node), 'status', 'attempt', 'token')
if s[1] ~= 'running' or s[2] ~= attempt or s[3] ~= token then return { -2 } end
local k = redis.call('HGET', flow_key(flow, 'plan:' .. c[3]), node .. ':component')
if c[2] ~= 'running' or redis.call('HEXISTS', base .. ':status', 'component:' .. (k or '')) == 1 then return { -3 } end
sound()
redis.call('ZREM', P .. ':leases', lease_member(flow, n, uuid, node))
make_ready(base, flow, n, uuid, node, str(tonumber(attempt) + 1), str(now_ms()), 'released')
return { 1 }
