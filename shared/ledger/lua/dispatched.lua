#!lua flags=allow-oom
-- dispatched: the broker confirmed these offers; their outbox entries go.
-- ARGV[3..] groups of six: entry id, flow, cycle, uuid, node, attempt (at most 128 groups)
-- Reply: {1, marked} | {0, higher epoch}
-- A node that was claimed or finished meanwhile keeps its state: only ready and
-- the same attempt becomes dispatched, and only if it was not set aside meanwhile.
local higher = fence()
if higher then return { 0, higher } end
sound_journal()
local now, marked, found, uuids = str(now_ms()), 0, {}, {}
for i = 3, #ARGV, 6 do
  local base = cycle_key(ARGV[i + 1], ARGV[i + 2])
  if uuids[base] == nil then uuids[base] = redis.call('HGET', base .. ':status', 'uuid') end
  if uuids[base] == ARGV[i + 3] then
    found[i] = redis.call('HMGET', node_key(base, ARGV[i + 4]), 'status', 'attempt', 'held')
  end
end
for i = 3, #ARGV, 6 do
  local flow, n, uuid, node, attempt, s = ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], found[i]
  local first = redis.call('XDEL', P .. ':outbox', ARGV[i]) == 1
  if s then
    if s[1] == 'ready' and s[2] == attempt and not s[3] then
      redis.call('HSET', node_key(cycle_key(flow, n), node), 'status', 'dispatched', 'dispatched_at', now)
      marked = marked + 1
    end
    if first then jot('dispatch', flow, n, uuid, node, attempt, '', '', '') end
  end
end
return { 1, marked }
