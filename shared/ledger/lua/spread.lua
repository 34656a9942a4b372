#!lua flags=allow-oom
-- spread: counts the next part of a node's many decided edges, or offers the next part of a cycle's many entry nodes.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] node ('' = entry nodes), [7] cursor this part begins at, [8] cursor after it,
-- ARGV[9] outbox entry to remove ('' = more parts follow), [10] number in this part (at most 256),
-- ARGV[11..] groups of six (see weigh), or plain ids for entry nodes
-- Reply: {1} counted | {0, higher epoch} | {-1} cycle gone or takes no more | {-2, cursor} begins elsewhere
local higher = fence()
if higher then return { 0, higher } end
local flow, n, uuid, node = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local base = cycle_key(flow, n)
local c = redis.call('HMGET', base .. ':status', 'uuid', 'status')
sound_cycle(base, flow)
if c[1] ~= uuid or c[2] ~= 'running' then
  if ARGV[9] ~= '' then redis.call('XDEL', OUTBOX, ARGV[9]) end
  return { -1 }
end
local key = node == '' and base .. ':status' or node_key(base, node)
local cursor = redis.call('HGET', key, 'spread')
if cursor ~= ARGV[7] then return { -2, cursor or '' } end
redis.call('HSET', key, 'spread', ARGV[8])
gather()
local now = now_ms()
if node == '' then
  for i = 11, #ARGV do
    if redis.call('EXISTS', node_key(base, ARGV[i])) == 0 then
      make_ready(base, flow, n, uuid, ARGV[i], '1', str(now), 'entry', true)
    end
  end
else
  spread_edges(base, flow, n, uuid, 11, tonumber(ARGV[10]), now)
end
jot_gathered()
if ARGV[9] ~= '' then
  redis.call('HDEL', key, 'spread')
  redis.call('XDEL', OUTBOX, ARGV[9])
end
return { 1 }
