#!lua flags=allow-oom
-- archive_cycle: replaces an ended cycle's node records by one compact record, a part at a time.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] the compact record, [7] last part (1 or 0), [8..] node ids whose records go (at most 256)
-- Reply: {1} | {0, higher epoch} | {-1} no such cycle | {-2} not ended | {2} was archived
local higher = fence()
if higher then return { 0, higher } end
local flow, n, uuid = ARGV[3], ARGV[4], ARGV[5]
local base = cycle_key(flow, n)
local c = redis.call('HMGET', base .. ':status', 'uuid', 'status', 'archived', 'revision')
if c[1] ~= uuid then return { -1 } end
if c[2] == 'running' or c[2] == 'cancelling' then return { -2 } end
if c[3] == '1' then return { 2 } end
redis.call('HLEN', flow_key(flow, 'state'))
if c[3] ~= 'part' then
  redis.call('SET', base .. ':archive', ARGV[6])
  redis.call('HSET', base .. ':status', 'archived', 'part')
end
local keys = {}
for i = 8, #ARGV do keys[i - 7] = node_key(base, ARGV[i]) end
if keys[1] then redis.call('UNLINK', unpack(keys)) end
if ARGV[7] == '1' then
  redis.call('UNLINK', base .. ':joins', base .. ':outputs')
  redis.call('HSET', base .. ':status', 'archived', '1')
  local state, field = flow_key(flow, 'state'), 'plan:' .. c[4]
  if redis.call('HINCRBY', state, field, -1) <= 0 and redis.call('HGET', state, 'revision') ~= c[4] then
    redis.call('UNLINK', flow_key(flow, field))
    redis.call('HDEL', state, field)
  end
end
return { 1 }
