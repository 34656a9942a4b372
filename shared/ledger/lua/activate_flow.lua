-- activate_flow: makes a revision, whose plan is already written, the one new cycles run.
-- ARGV[3] flow, [4] revision, [5] uid, [6] canonical document, [7] anchor (ms), [8] paused (1 or 0),
-- ARGV[9] last slot that the caller knows to be accounted (ms, '' = none),
-- ARGV[10..] runs of slots that earlier schedules left behind: first (ms), last (ms), how many, reason
-- Reply: {1} activated | {2} was so already | {0, revision} a newer one is active | {-1} being deleted
--        {-2} the plan of this revision and uid is not written
--        {-4} the last accounted slot is another one than the caller knows, who gave slots to account
-- The slots that are left are accounted in this step: after it nobody knows where they lay.
local flow, revision, uid = ARGV[3], ARGV[4], ARGV[5]
local key = flow_key(flow, 'state')
local s = redis.call('HMGET', key, 'status', 'uid', 'revision', 'last_slot')
if s[1] == 'deleting' or (s[2] and s[2] ~= uid) then return { -1 } end
if s[3] and tonumber(s[3]) > tonumber(revision) then return { 0, s[3] } end
local header = redis.call('HGET', flow_key(flow, 'plan:' .. revision), '#')
if not header or not string.find(header, uid, 1, true) then return { -2 } end
redis.call('XLEN', JOURNAL)
redis.call('SCARD', P .. ':flows')
local fresh = not s[3]
local left = not fresh and tonumber(s[3]) < tonumber(revision) and ARGV[10]
if left and (s[4] or '') ~= ARGV[9] then return { -4 } end
-- A flow whose state was lost: its cycles tell what they can of it.
local last, plans = '0', {}
local newest = {}
if fresh then
  for _, n in ipairs(redis.call('ZRANGE', flow_key(flow, 'cycles'), 0, -1)) do
    local c = redis.call('HMGET', cycle_key(flow, n) .. ':status', 'revision', 'archived', 'trigger', 'slot', 'uuid')
    if tonumber(n) > tonumber(last) then last = n end
    if c[1] and c[2] ~= '1' then plans[c[1]] = (plans[c[1]] or 0) + 1 end
    if c[3] == 'slot' and c[5] and tonumber(c[4]) > tonumber(newest[1] or '0') then newest = { c[4], c[5], n } end
  end
end
if left then
  -- The last slot is written first: what tears later finds them accounted.
  local sum = {}
  for i = 10, #ARGV, 4 do sum[ARGV[i + 3]] = (sum[ARGV[i + 3]] or 0) + tonumber(ARGV[i + 2]) end
  local fields = { 'last_slot', ARGV[#ARGV - 2] }
  for reason, count in pairs(sum) do
    local field = 'slots_skipped:' .. reason
    table.insert(fields, field)
    table.insert(fields, str(tonumber(redis.call('HGET', key, field) or '0') + count))
  end
  redis.call('HSET', key, unpack(fields))
  for i = 10, #ARGV, 4 do
    jot('slot_skipped', flow, '0', '', '', '0', '', '', ARGV[i] .. ' ' .. ARGV[i + 1] .. ' ' .. ARGV[i + 2] .. ' ' .. ARGV[i + 3])
  end
end
local same = s[3] == revision and redis.call('EXISTS', flow_key(flow, 'config')) == 1
redis.call('SADD', P .. ':flows', flow)
redis.call('SET', flow_key(flow, 'config'), ARGV[6])
redis.call('HSET', key, 'uid', uid, 'revision', revision, 'anchor', ARGV[7])
if fresh then redis.call('HSET', key, 'status', ARGV[8] == '1' and 'paused' or 'active', 'active', '0', 'last_cycle', last) end
if newest[1] then redis.call('HSET', key, 'last_slot', newest[1], 'last_slot_uuid', newest[2], 'last_slot_cycle', newest[3]) end
for r, count in pairs(plans) do redis.call('HSET', key, 'plan:' .. r, str(count)) end
if same then return { 2 } end
if s[3] and s[3] ~= revision and tonumber(redis.call('HGET', key, 'plan:' .. s[3]) or '0') <= 0 then
  redis.call('UNLINK', flow_key(flow, 'plan:' .. s[3]))
  redis.call('HDEL', key, 'plan:' .. s[3])
end
-- Plans between the two revisions were written and never activated.
for r = math.max(tonumber(s[3] or '0') + 1, tonumber(revision) - 100), tonumber(revision) - 1 do
  redis.call('UNLINK', flow_key(flow, 'plan:' .. str(r)))
end
redis.call('HSETNX', key, 'plan:' .. revision, '0')
jot('flow_activated', flow, '0', '', '', '0', '', '', revision .. (fresh and ARGV[8] == '1' and ' paused' or ''))
return { 1 }
