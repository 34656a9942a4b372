#!lua flags=allow-oom
-- complete_several: counts attempts that succeeded at the same time, as complete does one after the other.
-- ARGV[3] most bytes of outputs per cycle, [4] worker, [5] lease (ms) of a claim at once, [6..] for each attempt, as complete
-- takes them: flow, cycle, uuid, node, attempt, token, status, reason, component, bytes of all outputs, indexes of dead
-- out-edges, number of outputs, of successors in all, of those given here, token, most and nodes of claims at once, then outputs:
-- handle, value, then successors: groups of six (at most 32 attempts)
-- Reply: for each attempt what complete answers when it counts, or 0: nothing was done, complete has to be called.
-- Only what plainly succeeded in a component that goes on is counted here; refusals, stops and all else that is special
-- stand in complete alone. A second report of a node is not plain either: nothing is read after the
-- first write. What is counted of a cycle and of its joins is summed up here and written once.
local cycles, order, seen = {}, {}, {}
local leases, replies, posts = {}, {}, false
local COUNTED = { 1 }
local of, no, base -- calls of one cycle come together, as a rule

local i, most = 6, tonumber(ARGV[3])
while i <= #ARGV do
  local flow, n = ARGV[i], ARGV[i + 1]
  if flow ~= of or n ~= no then
    of, no = flow, n
    base = cycle_key(flow, n)
  end
  local node, attempt, size = ARGV[i + 3], ARGV[i + 4], tonumber(ARGV[i + 9])
  local component, outputs, given = ARGV[i + 8] == '0' and 'component:0' or 'component:' .. ARGV[i + 8], tonumber(ARGV[i + 11]), tonumber(ARGV[i + 13])
  local key = node_key(base, node)
  local c = cycles[base]
  if not c then
    local v = redis.call('HMGET', base .. ':status', 'uuid', 'status', 'output_bytes', 'completed_nodes', 'total_nodes', 'succeeded_nodes', component,
      'revision', 'occasion', 'slot', 'on_failure')
    c = { base = base, flow = flow, n = n, uuid = v[1], status = v[2], bytes = tonumber(v[3] or '0'), done = tonumber(v[4] or '0'), total = tonumber(v[5] or '0'),
      succeeded = tonumber(v[6] or '0'), joins = {}, changed = {}, values = {}, own = {}, head = { unpack(v, 8, 11) }, [component] = v[7] }
    cycles[base] = c
  end
  replies[#replies + 1] = 0
  if not c.left and c.uuid == ARGV[i + 2] and c.status == 'running' and c.done < c.total and not seen[key] and ARGV[i + 6] == 'succeeded'
    and ARGV[i + 12] == ARGV[i + 13] and outputs <= 500 and c.bytes + size <= most then
    seen[key] = true
    if c[component] == nil then c[component] = redis.call('HGET', base .. ':status', component) end
    local s = redis.call('HMGET', key, 'status', 'attempt', 'token', 'worker', 'blocker', 'suspect', 'held', 'due')
    if not c[component] and s[1] == 'running' and s[2] == attempt and s[3] == ARGV[i + 5] and not (s[5] or s[6] or s[7] or s[8]) then
      replies[#replies] = COUNTED
      if not c.writes then
        c.writes = true
        order[#order + 1], c.counted = c, {}
      end
      c.done, c.succeeded = c.done + 1, c.succeeded + 1
      if c.done >= c.total then
        sound_end(flow)
        c.ending, posts = redis.call('HMGET', base .. ':status', unpack(ENDING)), true
      end
      local a = { i = i, c = c, key = key, worker = s[4] or '', handles = false, moves = false } -- all at once: a table that grows is made anew
      if outputs > 0 then
        if #c.values == 0 then redis.call('HLEN', base .. ':outputs') end
        c.bytes = c.bytes + size
        local values, first, handles = c.values, i + 17, {}
        for k = first, first + 2 * outputs - 2, 2 do
          local name, value, v = node .. ':' .. ARGV[k], ARGV[k + 1], #values
          values[v + 1], values[v + 2], c.own[name] = name, value, value
          handles[#handles + 1] = ARGV[k]
        end
        a.handles = table.concat(handles, '\n')
      end
      if given > 0 then
        local first = i + 17 + 2 * outputs
        local w = weigh(base, first, given, c.joins)
        for k = 1, #w.counters, 2 do
          local name = w.counters[k]
          c.joins[name] = w.counters[k + 1]
          if not c.changed[name] then
            c.changed[name] = true
            c.changed[#c.changed + 1] = name
          end
        end
        w.counters = {}
        if #w.moves > 0 then
          a.moves, posts = w, true
          local direct = go_direct(base, flow, n, c.uuid, w, i + 14, c.head, ARGV[i + 8], c.own)
          if direct then replies[#replies] = direct end
        end
      end
      c.counted[#c.counted + 1] = a
      leases[#leases + 1] = lease_member(flow, n, ARGV[i + 2], node)
    end
  end
  if replies[#replies] == 0 then c.left = true end -- and so is all that comes later in this cycle: the order decides what goes direct
  i = i + 17 + 2 * outputs + 6 * given
end
if #order == 0 then return replies end
if posts then sound_streams() else sound_journal() end
local now = now_ms()
local at = str(now)

redis.call('ZREM', P .. ':leases', unpack(leases))
lease_direct()
gather()
-- One cycle after the other: the last outcome of a cycle is followed by its end.
for _, c in ipairs(order) do
  for from = 1, #c.values, 1000 do -- before the records that say there are outputs: no audit could put them there
    redis.call('HSET', c.base .. ':outputs', unpack(c.values, from, math.min(from + 999, #c.values)))
  end
  for _, a in ipairs(c.counted) do
    local flow, n, uuid, node, attempt, token, status, reason = unpack(ARGV, a.i, a.i + 7)
    local dead = ARGV[a.i + 10]
    if dead == '' and reason == '' and a.handles then
      redis.call('HSET', a.key, 'status', status, 'completed_at', at, 'handles', a.handles)
    else
      local record = { 'status', status, 'completed_at', at }
      if a.handles then record[5], record[6] = 'handles', a.handles end
      if dead ~= '' then record[#record + 1], record[#record + 2] = 'dead', dead end
      if reason ~= '' then record[#record + 1], record[#record + 2] = 'reason', reason end
      redis.call('HSET', a.key, unpack(record))
    end
    jot('outcome', flow, n, uuid, node, attempt, token, a.worker, status .. (reason ~= '' and ': ' .. reason or ''))
  end
  local sums = { 'completed_nodes', str(c.done), 'succeeded_nodes', str(c.succeeded) }
  if #c.values > 0 then sums[5], sums[6] = 'output_bytes', str(c.bytes) end
  redis.call('HSET', c.base .. ':status', unpack(sums))
  local counters, changed = {}, c.changed
  for k = 1, #changed do counters[2 * k - 1], counters[2 * k] = changed[k], str(c.joins[changed[k]]) end
  for from = 1, #counters, 1000 do
    redis.call('HSET', c.base .. ':joins', unpack(counters, from, math.min(from + 999, #counters)))
  end
  for _, a in ipairs(c.counted) do
    if a.moves then spread_edges(c.base, ARGV[a.i], ARGV[a.i + 1], ARGV[a.i + 2], 0, 0, now, a.moves) end
  end
  if c.ending then
    c.ending[2] = str(c.done)
    close(c.base, c.flow, c.n, c.uuid, at, c.ending)
  end
end
jot_gathered()
return replies
