#!lua flags=allow-oom
-- complete: counts an attempt that did not fail, once, and lets its successors go.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] node, [7] attempt, [8] token, [9] status (succeeded | stopped), [10] reason,
-- ARGV[11] component, [12] bytes of all outputs, [13] most bytes per cycle, [14] indexes of dead out-edges, '' = none
-- ARGV[15] number of outputs, [16] number of successors in all, [17] of those given here (at most 256),
-- ARGV[18..] outputs: handle, value; then successors: groups of six (see spread_edges)
-- Reply: {1} counted | {2} was counted before | {-1} cycle gone | {-2} the claim is not yours any more | {-3, bytes} too large
local flow, n, uuid, node, attempt, token, status = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local base = cycle_key(flow, n)
local component = 'component:' .. ARGV[11]
local c = redis.call('HMGET', base .. ':status', 'uuid', 'status', 'output_bytes', component)
if c[1] ~= uuid then
  refuse(flow, n, uuid, node, attempt, token, '', 'gone')
  return { -1 }
end
local key = node_key(base, node)
local s = redis.call('HMGET', key, 'status', 'attempt', 'token', 'worker')
if s[2] == attempt and s[3] == token and s[1] == status then return { 2 } end
if s[1] ~= 'running' or s[2] ~= attempt or s[3] ~= token then
  refuse(flow, n, uuid, node, attempt, token, '', standing(s[1], s[2]))
  return { -2 }
end
local bytes = tonumber(c[3] or '0') + tonumber(ARGV[12])
if bytes > tonumber(ARGV[13]) then return { -3, str(bytes) } end

sound_cycle(base, flow)
local now, outputs = now_ms(), tonumber(ARGV[15])
redis.call('ZREM', P .. ':leases', lease_member(flow, n, uuid, node))
if outputs > 0 then
  local handles = {}
  for i = 0, outputs - 1 do
    local handle = ARGV[18 + 2 * i]
    handles[#handles + 1] = handle
    redis.call('HSET', base .. ':outputs', node .. ':' .. handle, ARGV[19 + 2 * i])
  end
  local parts = {}
  for i = 1, outputs, 500 do parts[#parts + 1] = table.concat(handles, '\n', i, math.min(i + 499, outputs)) end
  redis.call('HSET', key, 'handles', table.concat(parts, '\n'))
  redis.call('HSET', base .. ':status', 'output_bytes', str(bytes))
end
if ARGV[14] ~= '' then redis.call('HSET', key, 'dead', ARGV[14]) end
if ARGV[10] ~= '' then redis.call('HSET', key, 'reason', ARGV[10]) end
finish(base, flow, n, uuid, node, attempt, status, str(now), token, s[4] or '', ARGV[10])
if c[2] == 'running' and not c[4] then
  if status == 'stopped' then
    redis.call('HSET', base .. ':status', component, 'stopped')
    post('sweep', flow, n, uuid, node, '0')
  else
    spread_out(base, flow, n, uuid, node, 16, 18 + 2 * outputs, now)
  end
end
close(base, flow, n, uuid, str(now))
return { 1 }
