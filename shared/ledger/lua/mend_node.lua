#!lua flags=allow-oom
-- mend_node: the audit puts back what one node lacks; each repair is guarded by the state the audit saw.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] node, [7] attempt seen, [8] status seen ('' = no record), [9] repair:
--   ready (all its inputs are decided and it never became ready), offer (ready without an outbox entry),
--   lease (running without a lease), timer (retrying without a timer), decide (decided inputs, nobody was told),
--   spread (edges counted in part, the rest is not posted; node '' = entry nodes), declined (declined without a timer),
--   held (set aside, and not in the set that would bring it back), deadline (node '': the cycle's, without a timer),
--   cycle (node '': an open cycle that its flow does not list)
-- ARGV[10] lease, or, for a deadline, when it is due (ms), [11] what was wrong
-- Reply: {1} mended | {2} is otherwise by now | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
local flow, n, uuid, node, attempt, seen, repair = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local base = cycle_key(flow, n)
local c = redis.call('HMGET', base .. ':status', 'uuid', 'status')
if c[1] ~= uuid or (c[2] ~= 'running' and c[2] ~= 'cancelling') then return { 2 } end
if repair == 'spread' then
  local key = node == '' and base .. ':status' or node_key(base, node)
  if c[2] ~= 'running' or redis.call('HEXISTS', key, 'spread') == 0 then return { 2 } end
  sound_repair()
  post('spread', flow, n, uuid, node, '0')
  repaired(repair, ARGV[11], flow, n, uuid, node, attempt, '')
  return { 1 }
elseif repair == 'deadline' then
  local member = timer_member('deadline', flow, n, uuid, '', '0')
  if c[2] ~= 'running' or redis.call('ZSCORE', P .. ':timers', member) then return { 2 } end
  sound_repair()
  redis.call('HSETNX', base .. ':status', 'deadline', ARGV[10])
  redis.call('ZADD', P .. ':timers', ARGV[10], member)
  post('timer', flow, n, uuid, '', '0')
  repaired(repair, ARGV[11], flow, n, uuid, '', '0', '')
  return { 1 }
elseif repair == 'cycle' then
  sound_repair()
  if redis.call('ZADD', flow_key(flow, 'cycles'), 'NX', redis.call('HGET', base .. ':status', 'started_at') or '0', n) == 0 then return { 2 } end
  repaired(repair, ARGV[11], flow, n, uuid, '', '0', '')
  return { 1 }
end
local s = redis.call('HMGET', node_key(base, node), 'status', 'attempt', 'token', 'blocker', 'held')
if (s[1] or '') ~= seen or (s[2] or '0') ~= attempt then return { 2 } end
if repair ~= 'lease' and c[2] ~= 'running' then return { 2 } end
if repair == 'offer' and s[4] and (s[5] or s[4] == 'declined') then return { 2 } end
if repair == 'declined' and s[4] ~= repair or repair == 'held' and not s[5] then return { 2 } end
local of = ({ ready = '', decide = '', offer = 'ready', lease = 'running', timer = 'retrying', declined = 'dispatched', held = 'ready' })[repair]
if of and of ~= seen then return { 2 } end
sound_repair()
sound_hold(s[5])
redis.call('SCARD', P .. ':holds')
local now = now_ms()
if repair == 'lease' then
  local member = lease_member(flow, n, uuid, node)
  if redis.call('ZSCORE', P .. ':leases', member) then return { 2 } end
  redis.call('ZADD', P .. ':leases', str(now + tonumber(ARGV[10])), member)
elseif repair == 'timer' then
  local member = timer_member('retry', flow, n, uuid, node, attempt)
  if redis.call('ZSCORE', P .. ':timers', member) then return { 2 } end
  redis.call('ZADD', P .. ':timers', str(now), member)
  post('timer', flow, n, uuid, node, attempt)
elseif repair == 'declined' then
  local member = timer_member('offer', flow, n, uuid, node, attempt)
  if redis.call('ZSCORE', P .. ':timers', member) then return { 2 } end
  redis.call('ZADD', P .. ':timers', str(now), member)
  post('timer', flow, n, uuid, node, attempt)
elseif repair == 'held' then
  local put = redis.call('SADD', P .. ':held:' .. s[5], flow .. '|' .. n .. '|' .. uuid .. '|' .. node .. '|' .. attempt)
  if put + redis.call('SADD', P .. ':holds', s[5]) == 0 then return { 2 } end
elseif repair == 'decide' then
  post('decide', flow, n, uuid, node, '0')
elseif repair == 'ready' then
  make_ready(base, flow, n, uuid, node, '1', str(now), 'mended')
else
  post('ready', flow, n, uuid, node, attempt)
end
repaired(repair, ARGV[11], flow, n, uuid, node, attempt, s[3] or '')
return { 1 }
