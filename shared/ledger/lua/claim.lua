#!lua flags=allow-oom
-- claim: grants one worker the right to finish an attempt.
-- ARGV[3] worker, [4] lease (ms), [5] lease left to a suspect (ms), [6] flow, [7] cycle, [8] uuid, [9] node, [10] attempt,
-- ARGV[11] token (made by the worker), [12] redelivered (1 or 0)
-- Reply: {1, node of the plan, occasion, slot, retry_count, on_failure, inputs…} granted (again, for the same token)
--        {-1} cycle gone | {-2} attempt is over, claimed or another | {-3} cycle or component takes no more claims
--        {-4} flow is paused, the node is held | {-5} claimed by another worker, marked suspect | {-6} the plan is missing
local flow, n, uuid, node, attempt, token = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local base = cycle_key(flow, n)
local function turn_away(code, why)
  refuse(flow, n, uuid, node, attempt, token, ARGV[3], why)
  return { code }
end
local c = redis.call('HMGET', base .. ':status', 'uuid', 'status', 'revision', 'occasion', 'slot', 'on_failure',
  'component:0')
if c[1] ~= uuid then return turn_away(-1, 'gone') end
local key = node_key(base, node)
local s = redis.call('HMGET', key, 'status', 'attempt', 'token', 'retry_count', 'held', 'blocker', 'suspect')
if s[2] ~= attempt then return turn_away(-2, standing(s[1], s[2])) end
local mine = s[1] == 'running' and s[3] == token
if not mine then
  if s[1] == 'running' then
    if ARGV[12] == '1' then
      sound()
      local member = lease_member(flow, n, uuid, node)
      local soon, ends = now_ms() + tonumber(ARGV[5]), redis.call('ZSCORE', P .. ':leases', member)
      if ends and tonumber(ends) > soon then redis.call('ZADD', P .. ':leases', str(soon), member) end
      redis.call('HSET', key, 'suspect', '1')
      post('suspect', flow, n, uuid, node, attempt)
      jot('suspect', flow, n, uuid, node, attempt, s[3] or '', ARGV[3], '')
      return { -5 }
    end
    return turn_away(-2, standing(s[1], s[2]))
  end
  if s[1] ~= 'ready' and s[1] ~= 'dispatched' then return turn_away(-2, standing(s[1], s[2])) end
  if c[2] ~= 'running' then return turn_away(-3, 'ending') end
end
local plan = flow_key(flow, 'plan:' .. c[3])
local p = redis.call('HMGET', plan, node, node .. ':in', node .. ':component')
if not p[1] then return turn_away(-6, 'no plan') end
if not mine then
  local over = c[7]
  if p[3] ~= '0' then over = redis.call('HGET', base .. ':status', 'component:' .. p[3]) end
  if over then return turn_away(-3, 'ending') end
  local status = redis.call('HGET', flow_key(flow, 'state'), 'status')
  if status == 'paused' then
    sound_hold('flow:' .. flow)
    redis.call('SCARD', P .. ':holds')
    sound_hold(s[5])
    redis.call('XLEN', JOURNAL)
    redis.call('ZCARD', P .. ':timers')
    hold('flow:' .. flow, flow, n, uuid, node, attempt)
    redis.call('HSET', key, 'status', 'ready', 'blocker', 'paused', 'held', 'flow:' .. flow)
    if s[5] ~= 'flow:' .. flow then unhold(s[5], flow, n, uuid, node, attempt) end
    if s[6] == 'declined' then redis.call('ZREM', P .. ':timers', timer_member('offer', flow, n, uuid, node, attempt)) end
    jot('held', flow, n, uuid, node, attempt, '', ARGV[3], 'paused')
    return { -4 }
  end
  if status ~= 'active' then return turn_away(-3, 'ending') end
  sound_journal()
  sound_hold(s[5])
  if s[6] == 'declined' then redis.call('ZCARD', P .. ':timers') end
end
local reply = { 1, p[1], c[4], c[5], s[4] or '0', c[6] or '' }
if p[2] and p[2] ~= '' then
  local fields = {}
  for f in string.gmatch(p[2], '[^\n]+') do fields[#fields + 1] = f end
  for from = 1, #fields, 1000 do
    local values = redis.call('HMGET', base .. ':outputs', unpack(fields, from, math.min(from + 999, #fields)))
    for i = 1, #values do reply[#reply + 1] = values[i] end
  end
end
if mine then return reply end
local now = now_ms()
redis.call('ZADD', P .. ':leases', str(now + tonumber(ARGV[4])), lease_member(flow, n, uuid, node))
redis.call('HSET', key, 'status', 'running', 'token', token, 'worker', ARGV[3], 'started_at', str(now))
if s[5] or s[6] or s[7] then redis.call('HDEL', key, 'blocker', 'suspect', 'held') end
unhold(s[5], flow, n, uuid, node, attempt)
if s[6] == 'declined' then redis.call('ZREM', P .. ':timers', timer_member('offer', flow, n, uuid, node, attempt)) end
jot('claim', flow, n, uuid, node, attempt, token, ARGV[3], '')
return reply
