#!lua flags=allow-oom
-- complete: counts an attempt that did not fail, once, and lets its successors go.
-- ARGV[3] most bytes of outputs per cycle, [4] worker, [5] lease (ms) of a claim at once, [6] flow, [7] cycle, [8] uuid, [9] node,
-- ARGV[10] attempt, [11] token, [12] status (succeeded | stopped), [13] reason, [14] component, [15] bytes of all outputs,
-- ARGV[16] indexes of dead out-edges, '' = none, [17] number of outputs, [18] number of successors in all, [19] of those given
-- here (at most 256), [20] token, [21] most, [22] nodes of claims at once ('' = none, see go_direct),
-- ARGV[23..] outputs: handle, value; then successors: groups of six (see weigh)
-- Reply: {1} counted | {1, occasion, slot, on_failure, {node, node of the plan, inputs…}, …} counted, and those successors' first
--        attempts are granted (again, for the same token, with new leases) | {2} was counted before | {-1} cycle gone | {-2} the claim is not yours any more | {-3, bytes} too large
local flow, n, uuid, node, attempt, token, status = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local base = cycle_key(flow, n)
local component = 'component:' .. ARGV[14]
local count = status .. '_nodes'
local c = redis.call('HMGET', base .. ':status', 'uuid', 'output_bytes', component, count, 'revision', 'occasion', 'slot', unpack(ENDING))
if c[1] ~= uuid then
  refuse(flow, n, uuid, node, attempt, token, '', 'gone')
  return { -1 }
end
local key = node_key(base, node)
local s = redis.call('HMGET', key, 'status', 'attempt', 'token', 'worker', 'blocker', 'suspect', 'held', 'due')
local head = { c[5], c[6], c[7], c[13] } -- as answer_direct wants it
if s[2] == attempt and s[3] == token and s[1] == status then
  if ARGV[20] ~= '' then
    local nodes = {}
    for m in string.gmatch(ARGV[22], '[^\n]+') do
      local v = redis.call('HMGET', node_key(base, m), 'status', 'token')
      if v[1] == 'running' and v[2] == ARGV[20] then nodes[#nodes + 1] = m end
    end
    local reply = #nodes > 0 and answer_direct(base, flow, nodes, head, ARGV[14], {})
    if reply then
      local ends = str(now_ms() + tonumber(ARGV[5]))
      for k = 5, #reply do redis.call('ZADD', P .. ':leases', ends, lease_member(flow, n, uuid, reply[k][1])) end
      return reply
    end
  end
  return { 2 }
end
if s[1] ~= 'running' or s[2] ~= attempt or s[3] ~= token then
  refuse(flow, n, uuid, node, attempt, token, '', standing(s[1], s[2]))
  return { -2 }
end
local bytes = tonumber(c[2] or '0') + tonumber(ARGV[15])
if bytes > tonumber(ARGV[3]) then return { -3, str(bytes) } end

local outputs = tonumber(ARGV[17])
local goes_on = c[8] == 'running' and not c[3]
local cycle = { unpack(c, 8, 15) } -- as ENDING names them
cycle[2] = str(tonumber(c[9]) + 1)
sound_streams()
if outputs > 0 then redis.call('HLEN', base .. ':outputs') end
if tonumber(cycle[2]) >= tonumber(c[10]) then sound_end(flow) end
local w = goes_on and status ~= 'stopped' and weigh(base, 23 + 2 * outputs, tonumber(ARGV[19]))
local direct
if w and ARGV[20] ~= '' then
  local own = {}
  for i = 23, 21 + 2 * outputs, 2 do own[node .. ':' .. ARGV[i]] = ARGV[i + 1] end
  direct = go_direct(base, flow, n, uuid, w, 20, head, ARGV[14], own)
end
local now = now_ms()

redis.call('ZREM', P .. ':leases', lease_member(flow, n, uuid, node))
if direct then lease_direct() end
gather()
local record = { 'status', status, 'completed_at', str(now) }
if outputs > 0 then
  local handles, values = {}, {}
  for i = 0, outputs - 1 do
    handles[i + 1] = ARGV[23 + 2 * i]
    values[2 * i + 1], values[2 * i + 2] = node .. ':' .. ARGV[23 + 2 * i], ARGV[24 + 2 * i]
  end
  for from = 1, #values, 1000 do redis.call('HSET', base .. ':outputs', unpack(values, from, math.min(from + 999, #values))) end
  local parts = {}
  for i = 1, outputs, 500 do parts[#parts + 1] = table.concat(handles, '\n', i, math.min(i + 499, outputs)) end
  record[#record + 1], record[#record + 2] = 'handles', table.concat(parts, '\n')
end
if ARGV[16] ~= '' then record[#record + 1], record[#record + 2] = 'dead', ARGV[16] end
if ARGV[13] ~= '' then record[#record + 1], record[#record + 2] = 'reason', ARGV[13] end
redis.call('HSET', key, unpack(record))
if s[5] or s[6] or s[7] or s[8] then redis.call('HDEL', key, 'blocker', 'suspect', 'held', 'due') end
local counted = { 'completed_nodes', cycle[2], count, str(tonumber(c[4] or '0') + 1) }
if outputs > 0 then counted[5], counted[6] = 'output_bytes', str(bytes) end
redis.call('HSET', base .. ':status', unpack(counted))
jot('outcome', flow, n, uuid, node, attempt, token, s[4] or '', status .. (ARGV[13] ~= '' and ': ' .. ARGV[13] or ''))
if w then
  spread_out(base, flow, n, uuid, node, 18, 0, now, w)
elseif goes_on then
  redis.call('HSET', base .. ':status', component, 'stopped')
  post('sweep', flow, n, uuid, node, '0')
end
close(base, flow, n, uuid, str(now), cycle)
jot_gathered()
return direct or { 1 }
