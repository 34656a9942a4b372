#!lua flags=allow-oom
-- archive_cycles: replaces the node records of ended cycles by one compact record each; those of a large cycle a part at a time.
-- ARGV[3] flow, [4] last part (1 or 0), [5] number of node ids, [6..] ids of the nodes whose records go, then for each cycle: its
-- number, uuid, compact record or '' when a part is gone already (at most 256 records in all; parts are of one cycle)
-- Reply: {1, for each cycle: 1 | -1 no such cycle | -2 not ended | 2 was archived} | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
local flow, last, count = ARGV[3], ARGV[4] == '1', tonumber(ARGV[5])
local state = flow_key(flow, 'state')
local current = redis.call('HGET', state, 'revision')
local codes, archives, begun, todo, keys, plans = { 1 }, {}, {}, {}, {}, {}
for i = 6 + count, #ARGV, 3 do
  local base = cycle_key(flow, ARGV[i])
  local status = base .. ':status'
  local c = redis.call('HMGET', status, 'uuid', 'status', 'archived', 'revision')
  local code = 1
  if c[1] ~= ARGV[i + 1] or (ARGV[i + 2] == '' and not c[3]) then
    code = -1
  elseif c[2] == 'running' or c[2] == 'cancelling' then
    code = -2
  elseif c[3] == '1' then
    code = 2
  else
    local a, k = #archives, #keys
    if not c[3] then archives[a + 1], archives[a + 2], begun[#begun + 1] = base .. ':archive', ARGV[i + 2], status end
    todo[#todo + 1] = status
    for j = 1, count do keys[k + j] = node_key(base, ARGV[5 + j]) end
    if last then
      keys[k + count + 1], keys[k + count + 2] = base .. ':joins', base .. ':outputs'
      plans[c[4]] = (plans[c[4]] or 0) + 1
    end
  end
  codes[#codes + 1] = code
end

if archives[1] then redis.call('MSET', unpack(archives)) end
for _, status in ipairs(begun) do redis.call('HSET', status, 'archived', 'part') end
if keys[1] then redis.call('UNLINK', unpack(keys)) end
if last then
  for _, status in ipairs(todo) do redis.call('HSET', status, 'archived', '1') end
end
for revision, cycles in pairs(plans) do
  local field = 'plan:' .. revision
  if redis.call('HINCRBY', state, field, -cycles) <= 0 and current ~= revision then
    redis.call('UNLINK', flow_key(flow, field))
    redis.call('HDEL', state, field)
  end
end
return codes
