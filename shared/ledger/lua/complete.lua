#!lua flags=allow-oom
-- complete: counts an attempt that did not fail, once, and lets its successors go.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] node, [7] attempt, [8] token, [9] status (succeeded | stopped), [10] reason,
-- ARGV[11] component, [12] bytes of all outputs, [13] most bytes per cycle, [14] indexes of dead out-edges, '' = none
-- ARGV[15] number of outputs, [16] number of successors in all, [17] of those given here (at most 256),
-- ARGV[18..] outputs: handle, value; then successors: groups of six (see weigh)
-- Reply: {1} counted | {2} was counted before | {-1} cycle gone | {-2} the claim is not yours any more | {-3, bytes} too large
local flow, n, uuid, node, attempt, token, status = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local base = cycle_key(flow, n)
local component = 'component:' .. ARGV[11]
local count = status .. '_nodes'
local c = redis.call('HMGET', base .. ':status', 'uuid', 'output_bytes', component, count, unpack(ENDING))
if c[1] ~= uuid then
  refuse(flow, n, uuid, node, attempt, token, '', 'gone')
  return { -1 }
end
local key = node_key(base, node)
local s = redis.call('HMGET', key, 'status', 'attempt', 'token', 'worker', 'blocker', 'suspect', 'held', 'due')
if s[2] == attempt and s[3] == token and s[1] == status then return { 2 } end
if s[1] ~= 'running' or s[2] ~= attempt or s[3] ~= token then
  refuse(flow, n, uuid, node, attempt, token, '', standing(s[1], s[2]))
  return { -2 }
end
local bytes = tonumber(c[2] or '0') + tonumber(ARGV[12])
if bytes > tonumber(ARGV[13]) then return { -3, str(bytes) } end

local outputs = tonumber(ARGV[15])
local goes_on = c[5] == 'running' and not c[3]
local cycle = { unpack(c, 5, 11) } -- as ENDING names them
cycle[2] = str(tonumber(c[6]) + 1)
sound_streams()
if outputs > 0 then redis.call('HLEN', base .. ':outputs') end
if tonumber(cycle[2]) >= tonumber(c[7]) then sound_end(flow) end
local w = goes_on and status ~= 'stopped' and weigh(base, 18 + 2 * outputs, tonumber(ARGV[17]))
local now = now_ms()

redis.call('ZREM', P .. ':leases', lease_member(flow, n, uuid, node))
local record = { 'status', status, 'attempt', attempt, 'completed_at', str(now) }
if outputs > 0 then
  local handles, values = {}, {}
  for i = 0, outputs - 1 do
    handles[i + 1] = ARGV[18 + 2 * i]
    values[2 * i + 1], values[2 * i + 2] = node .. ':' .. ARGV[18 + 2 * i], ARGV[19 + 2 * i]
  end
  for from = 1, #values, 1000 do redis.call('HSET', base .. ':outputs', unpack(values, from, math.min(from + 999, #values))) end
  local parts = {}
  for i = 1, outputs, 500 do parts[#parts + 1] = table.concat(handles, '\n', i, math.min(i + 499, outputs)) end
  record[#record + 1], record[#record + 2] = 'handles', table.concat(parts, '\n')
end
if ARGV[14] ~= '' then record[#record + 1], record[#record + 2] = 'dead', ARGV[14] end
if ARGV[10] ~= '' then record[#record + 1], record[#record + 2] = 'reason', ARGV[10] end
redis.call('HSET', key, unpack(record))
if s[5] or s[6] or s[7] or s[8] then redis.call('HDEL', key, 'blocker', 'suspect', 'held', 'due') end
local counted = { 'completed_nodes', cycle[2], count, str(tonumber(c[4] or '0') + 1) }
if outputs > 0 then counted[5], counted[6] = 'output_bytes', str(bytes) end
redis.call('HSET', base .. ':status', unpack(counted))
jot('outcome', flow, n, uuid, node, attempt, token, s[4] or '', status .. (ARGV[10] ~= '' and ': ' .. ARGV[10] or ''))
if w then
  spread_out(base, flow, n, uuid, node, 16, 0, now, w)
elseif goes_on then
  redis.call('HSET', base .. ':status', component, 'stopped')
  post('sweep', flow, n, uuid, node, '0')
end
close(base, flow, n, uuid, str(now), cycle)
return { 1 }
