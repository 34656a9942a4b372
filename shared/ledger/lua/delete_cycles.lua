#!lua flags=allow-oom
-- delete_cycles: removes cycles of a flow: ended ones past their retention, or any of a flow that is being deleted.
-- ARGV[3] flow, [4] only those that have no records but their archive (1 or 0), [5] last part (1 or 0), [6] number of node ids,
-- [7..] ids of the nodes whose records, leases, timers and holds go, then numbers of cycles (at most 256 records in all; parts are
-- of one cycle)
-- A running cycle is first marked deleting: from then on no verb offers, claims or counts in it, so that
-- what the earlier parts removed does not come back.
-- Reply: {1, for each cycle: 1 | -1 no such cycle | -2 not ended | -3 has records} | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
local flow, last, count = ARGV[3], ARGV[5] == '1', tonumber(ARGV[6])
local state, triggered = flow_key(flow, 'state'), flow_key(flow, 'triggers')
local f = redis.call('HMGET', state, 'status', 'revision')
sound_journal()
redis.call('ZCARD', flow_key(flow, 'cycles'))
redis.call('HLEN', triggered)
local function listed(what) return redis.call('ZCARD', P .. what) > 0 end
local leased, timed, running, ending = listed(':leases'), listed(':timers'), listed(':active'), listed(':closing')
local codes, marks, held, plans = { 1 }, {}, {}, {}
local leases, timers, active, closing, triggers, keys, numbers = {}, {}, {}, {}, {}, {}, {}
gather()
for i = 7 + count, #ARGV do
  local n = ARGV[i]
  local base = cycle_key(flow, n)
  local status = base .. ':status'
  local c = redis.call('HMGET', status, 'uuid', 'status', 'archived', 'trigger_key')
  local uuid, code, archived, member = c[1] or '', 1, c[3] == '1', nil
  local open = c[2] == 'running' or c[2] == 'cancelling'
  if not c[1] then
    code = -1
  elseif not archived and ARGV[4] == '1' then
    code = -3
  elseif open and f[1] ~= 'deleting' then
    code = -2
  end
  if code >= -1 then
    for j = 7, 6 + count do
      local node = ARGV[j]
      local key = node_key(base, node)
      local s = redis.call('HMGET', key, 'attempt', 'held')
      if s[1] then
        sound_hold(s[2])
        if s[2] then held[#held + 1] = { s[2], flow, n, uuid, node, s[1] } end
        if leased then leases[#leases + 1] = lease_member(flow, n, uuid, node) end
        if timed then
          local t = #timers
          timers[t + 1], timers[t + 2] = timer_member('retry', flow, n, uuid, node, s[1]), timer_member('offer', flow, n, uuid, node, s[1])
        end
        keys[#keys + 1] = key
      end
    end
    if open then marks[#marks + 1] = status end
    if last then
      local k = #keys
      keys[k + 1], keys[k + 2] = status, base .. ':archive'
      if not archived then keys[k + 3], keys[k + 4] = base .. ':joins', base .. ':outputs' end
      numbers[#numbers + 1] = n
    end
    if last and c[1] then
      if running or ending then member = lease_member(flow, n, uuid, '') end
      if running then active[#active + 1] = string.sub(member, 1, -2) end
      if ending then closing[#closing + 1] = member end
      if timed then timers[#timers + 1] = timer_member('deadline', flow, n, uuid, '', '0') end
      if c[4] and c[4] ~= '' then triggers[#triggers + 1] = c[4] end
      if not archived and f[1] then
        local revision = redis.call('HGET', status, 'revision')
        plans[revision] = (plans[revision] or 0) + 1
      end
      jot('cycle_removed', flow, n, uuid, '', '0', '', '', open and 'deleting' or c[2] or '')
    end
  end
  codes[#codes + 1] = code
end

-- What leads to a cycle goes before it, but for its number, by which the next pass finds what is left.
for _, status in ipairs(marks) do redis.call('HSET', status, 'status', 'deleting') end
for _, h in ipairs(held) do unhold(unpack(h)) end
if leases[1] then redis.call('ZREM', P .. ':leases', unpack(leases)) end
if timers[1] then redis.call('ZREM', P .. ':timers', unpack(timers)) end
if active[1] then redis.call('ZREM', P .. ':active', unpack(active)) end
if closing[1] then redis.call('ZREM', P .. ':closing', unpack(closing)) end
if triggers[1] then redis.call('HDEL', triggered, unpack(triggers)) end
if keys[1] then redis.call('UNLINK', unpack(keys)) end
for revision, fewer in pairs(plans) do
  local field = 'plan:' .. revision
  if redis.call('HINCRBY', state, field, -fewer) <= 0 and f[2] ~= revision then
    redis.call('UNLINK', flow_key(flow, field))
    redis.call('HDEL', state, field)
  end
end
if numbers[1] then redis.call('ZREM', flow_key(flow, 'cycles'), unpack(numbers)) end
jot_gathered()
return codes
