#!lua flags=allow-oom
-- heartbeat: renews the claims of one worker process and tells it which of them must end.
-- ARGV[3] worker, [4] lease (ms), [5..] groups of six: flow, cycle, uuid, node, attempt, token (at most 128 groups)
-- Reply: one code per claim: 1 renewed | 2 renewed, but the cycle is ending: stop | 0 lost: stop, its result will be refused
-- A node that Redis forgot was claimed (it went back in time) is claimed again by the same token.
sound()
local now, found, reply = now_ms(), {}, {}
local ends = str(now + tonumber(ARGV[4]))
for i = 5, #ARGV, 6 do
  local base = cycle_key(ARGV[i], ARGV[i + 1])
  local c = redis.call('HMGET', base .. ':status', 'uuid', 'status')
  if c[1] == ARGV[i + 2] then
    local s = redis.call('HMGET', node_key(base, ARGV[i + 3]), 'status', 'attempt', 'token', 'held', 'failed_token')
    sound_hold(s[4])
    found[i] = { c[2], s[1], s[2], s[3], s[4], s[5] }
  end
end
for i = 5, #ARGV, 6 do
  local flow, n, uuid, node, attempt, token = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
  local f, code = found[i], 0
  if f then
    local cycle, status = f[1], f[2]
    if f[3] == attempt then
      if status == 'running' and f[4] == token then
        code = 1
      elseif (status == 'ready' or status == 'dispatched') and cycle == 'running' then
        local key = node_key(cycle_key(flow, n), node)
        redis.call('HSET', key, 'status', 'running', 'token', token, 'worker', ARGV[3], 'started_at', str(now))
        redis.call('HDEL', key, 'blocker', 'suspect', 'held')
        unhold(f[5], flow, n, uuid, node, attempt)
        redis.call('ZREM', P .. ':timers', timer_member('offer', flow, n, uuid, node, attempt))
        jot('claim', flow, n, uuid, node, attempt, token, ARGV[3], 'again, by heartbeat')
        code = 1
      end
    end
    if code == 1 then
      redis.call('ZADD', P .. ':leases', ends, lease_member(flow, n, uuid, node))
      if cycle ~= 'running' then code = 2 end
    elseif not (FINAL[status] and f[4] == token) and f[6] ~= token then -- it may just have reported its own end
      jot('lost', flow, n, uuid, node, attempt, token, ARGV[3], '')
    end
  end
  reply[#reply + 1] = code
end
return reply
