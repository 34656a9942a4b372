-- start_cycle: turns a slot or a trigger into a cycle, in one step.
-- ARGV[3] flow, [4] uuid, [5] occasion, [6] slot (ms, or '' for a trigger), [7] trigger key or '', [8] revision,
-- ARGV[9] total nodes, [10] overlap (skip | allow), [11] most active cycles, [12] timeout (ms, 0 = none), [13] on_failure,
-- ARGV[14] entry nodes in all, [15] last slot that the caller knows to be accounted (ms, '' = none),
-- ARGV[16..] the first entry nodes (at most 256)
-- Reply: {1, cycle, now} started | {2, cycle} was started before | {3, reason} slot skipped, accounted | {0, higher epoch}
--        {-1} no such flow | {-2} paused | {-3, revision} another revision is active | {-4} slot is accounted already
--        {-5, ms} slot lies ahead of Redis TIME | {-6, cycle} a trigger meets a running cycle
--        {-7} the last slot that the caller knows of is not accounted: Redis went back in time
-- A trigger without a key is known by its uuid.
local higher = fence()
if higher then return { 0, higher } end
local flow, uuid, slot, trigger = ARGV[3], ARGV[4], ARGV[6], ARGV[7]
if slot == '' and trigger == '' then trigger = uuid end -- so that a repeated command is known
local key = flow_key(flow, 'state')
local s = redis.call('HMGET', key, 'status', 'revision', 'last_slot', 'last_slot_uuid', 'last_slot_cycle', 'active', 'last_cycle', 'slots_started',
  'plan:' .. ARGV[8])
local started = str(tonumber(s[8] or '0') + 1)
if not s[1] or s[1] == 'deleting' then return { -1 } end
local now = now_ms()
-- A start that tore may have left its cycle without its slot or trigger, which are
-- written last. The next start, of whatever kind, notes them.
local t = redis.call('HMGET', cycle_key(flow, s[7] or '0') .. ':status', 'uuid', 'trigger', 'slot', 'trigger_key', 'status', 'started_at')
local bySlot = t[2] == 'slot' and tonumber(t[3]) > tonumber(s[3] or '0')
if bySlot or (t[2] == 'manual' and redis.call('HEXISTS', flow_key(flow, 'triggers'), t[4]) == 0) then
  if t[5] == 'running' or t[5] == 'cancelling' then
    redis.call('ZADD', flow_key(flow, 'cycles'), 'NX', t[6], s[7])
    redis.call('ZADD', P .. ':active', 'NX', t[6], flow .. '|' .. s[7] .. '|' .. t[1])
  end
  if bySlot then
    redis.call('HSET', key, 'last_slot', t[3], 'last_slot_uuid', t[1], 'last_slot_cycle', s[7], 'slots_started', started)
    s[3], s[4], s[5], started = t[3], t[1], s[7], str(tonumber(started) + 1)
  else
    redis.call('HSET', flow_key(flow, 'triggers'), t[4], s[7])
  end
end
if slot ~= '' then
  if s[4] == uuid then return { 2, s[5] } end
  if s[3] and tonumber(slot) <= tonumber(s[3]) then return { -4 } end
  if ARGV[15] ~= '' and tonumber(s[3] or '0') < tonumber(ARGV[15]) then return { -7 } end
else
  local n = redis.call('HGET', flow_key(flow, 'triggers'), trigger)
  if n then return { 2, n } end
end
if s[1] == 'paused' then return { -2 } end
if s[2] ~= ARGV[8] then return { -3, s[2] } end
if slot ~= '' and tonumber(slot) > now then return { -5, str(tonumber(slot) - now) } end
local active = tonumber(s[6] or '0')
local reason = nil
if active > 0 and ARGV[10] == 'skip' then reason = 'overlap' end
if active >= tonumber(ARGV[11]) then reason = reason or 'backlog' end
sound_journal()
if reason then
  if slot == '' then return { -6, s[7] } end
  local field = 'slots_skipped:' .. reason
  redis.call('HSET', key, 'last_slot', slot, field, str(tonumber(redis.call('HGET', key, field) or '0') + 1))
  jot('slot_skipped', flow, '0', uuid, '', '0', '', '', slot .. ' ' .. slot .. ' 1 ' .. reason)
  return { 3, reason }
end

redis.call('ZCARD', flow_key(flow, 'cycles'))
redis.call('HLEN', flow_key(flow, 'triggers'))
redis.call('ZCARD', P .. ':active')
redis.call('XLEN', OUTBOX)
if ARGV[12] ~= '0' then redis.call('ZCARD', P .. ':timers') end
local n, due = str(tonumber(s[7] or '0') + 1), ARGV[12] ~= '0' and str(now + tonumber(ARGV[12]))
local base = cycle_key(flow, n)
redis.call('HSET', key, 'last_cycle', n, 'active', str(active + 1), 'plan:' .. ARGV[8], str(tonumber(s[9] or '0') + 1))
local record = { 'cycle', n, 'uuid', uuid, 'occasion', ARGV[5], 'status', 'running',
  'trigger', slot ~= '' and 'slot' or 'manual', 'slot', slot ~= '' and slot or str(now), 'trigger_key', trigger,
  'revision', ARGV[8], 'started_at', str(now), 'total_nodes', ARGV[9], 'completed_nodes', '0',
  'on_failure', ARGV[13], 'output_bytes', '0' }
if due then record[#record + 1], record[#record + 2] = 'deadline', due end
redis.call('HSET', base .. ':status', unpack(record))
redis.call('ZADD', flow_key(flow, 'cycles'), str(now), n)
redis.call('ZADD', P .. ':active', str(now), flow .. '|' .. n .. '|' .. uuid)
gather()
if due then
  redis.call('ZADD', P .. ':timers', due, timer_member('deadline', flow, n, uuid, '', '0'))
  post('timer', flow, n, uuid, '', '0')
end
jot('cycle_start', flow, n, uuid, '', '0', '', '', (slot ~= '' and slot or 'manual') .. ' ' .. ARGV[8])
for i = 16, #ARGV do make_ready(base, flow, n, uuid, ARGV[i], '1', str(now), 'entry', true) end
jot_gathered()
if tonumber(ARGV[14]) > #ARGV - 15 then
  redis.call('HSET', base .. ':status', 'spread', str(#ARGV - 15))
  post('spread', flow, n, uuid, '', '0')
end
if slot ~= '' then
  -- One command: a script that tears leaves the slot accounted and counted, or neither.
  redis.call('HSET', key, 'last_slot', slot, 'last_slot_uuid', uuid, 'last_slot_cycle', n, 'slots_started', started)
else
  redis.call('HSET', flow_key(flow, 'triggers'), trigger, n)
end
return { 1, n, str(now) }
