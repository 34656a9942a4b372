-- The part every script shares; the Go side puts it before each script's text.
-- It names keys, fences epochs, writes the journal and holds the three moves
-- that more than one verb makes: offer a node, count an outcome, close a cycle.
--
-- Every script: VERB = its name; KEYS[1] = the prefix, and the cluster slot of all keys below
-- it; ARGV[1] = journal cap, '' = none; ARGV[2] = epoch ('0' = a verb any replica may
-- call). Times are milliseconds of the ledger's clock, see now_ms. Every number that
-- is stored or joined goes through str(), since Lua would write large ones as 1e+14.

local redis, ARGV = redis, ARGV -- each use would look them up by name
local P = KEYS[1]
local EPOCH = ARGV[2]
local JOURNAL = P .. ':journal'
local OUTBOX = P .. ':outbox'

local function str(n) return string.format('%d', n) end

-- now_ms is the ledger's clock: Redis TIME, corrected by what P:clock holds, so
-- that it goes on evenly when the machine's clock is set. P:clock_at is the TIME at which the
-- leader last found that right: the clock is never before that, and never long after
-- it, so that a jump nobody has corrected yet is not seen. It is the same all through
-- a script, and first read before the first write: the keys may hold nonsense.
local NOW, COMMON
local UNCONFIRMED = 5000 -- ms that pass without a leader's word

-- common reads what nearly every script needs: the clock's two keys and the epoch.
local function common()
  if not COMMON then COMMON = redis.call('MGET', P .. ':clock', P .. ':clock_at', P .. ':epoch') end
  return COMMON
end

local function now_ms()
  if not NOW then
    local t, c = redis.call('TIME'), common()
    NOW = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
    local at = c[2] and tonumber(c[2])
    if at then NOW = math.max(at, math.min(NOW, at + UNCONFIRMED)) end
    NOW = NOW + (c[1] and tonumber(c[1]) or 0)
  end
  return NOW
end

local function flow_key(flow, what) return P .. ':flow:' .. flow .. ':' .. what end
local function cycle_key(flow, n) return P .. ':flow:' .. flow .. ':cycle:' .. n end
local function node_key(base, node) return base .. ':node:' .. node .. ':state' end

-- A record is one field: the names of ten, and their places, would be most of what it costs. The
-- detail is last, since it may hold anything. The first record of a script cuts the journal to the cap.
local CUT = ARGV[1] == ''
local GATHERED -- fields of records that are to be written together; nil: each is written at once
local function write_records(fields)
  if CUT then
    redis.call('XADD', JOURNAL, '*', unpack(fields))
  else
    CUT = true
    redis.call('XADD', JOURNAL, 'MAXLEN', '~', ARGV[1], '*', unpack(fields))
  end
end

-- Of records that are written together one of the same cycle as the one before says '^' for it and for
-- the epoch, and those that differ by their node alone are one record of several nodes.
local OF_FLOW, OF_N, OF_UUID -- cycle of the last one
local RUN, RUN_HEAD, RUN_OP, RUN_TAIL, RUN_ATTEMPT, RUN_DETAIL -- the nodes of the one to which more may be added, what is before and behind them, and what they share
local function add_record(record)
  local g = GATHERED
  local k = #g
  g[k + 1], g[k + 2] = k == 0 and 'r' or str(k / 2), record
end

local function end_run()
  add_record(RUN_HEAD .. table.concat(RUN, ',') .. RUN_TAIL)
  RUN = nil
end

local function jot(op, flow, n, uuid, node, attempt, token, worker, detail)
  if not GATHERED then
    write_records({ 'r', op .. '|' .. flow .. '|' .. n .. '|' .. uuid .. '|' .. node
      .. '|' .. attempt .. '|' .. EPOCH .. '|' .. token .. '|' .. worker .. '|' .. detail })
    return
  end
  local same = uuid == OF_UUID and n == OF_N and flow == OF_FLOW
  if token == '' and worker == '' and node ~= '' then
    if RUN then
      if same and op == RUN_OP and attempt == RUN_ATTEMPT and detail == RUN_DETAIL then
        RUN[#RUN + 1] = node
        return
      end
      end_run()
    end
    RUN, RUN_OP, RUN_ATTEMPT, RUN_DETAIL = { node }, op, attempt, detail
    if same then
      RUN_HEAD, RUN_TAIL = op .. '|^|', '|' .. attempt .. '|||' .. detail
    else
      RUN_HEAD, RUN_TAIL = op .. '|' .. flow .. '|' .. n .. '|' .. uuid .. '|', '|' .. attempt .. '|' .. EPOCH .. '|||' .. detail
    end
  else
    if RUN then end_run() end
    if same then
      add_record(op .. '|^|' .. node .. '|' .. attempt .. '|' .. token .. '|' .. worker .. '|' .. detail)
    else
      add_record(op .. '|' .. flow .. '|' .. n .. '|' .. uuid .. '|' .. node
        .. '|' .. attempt .. '|' .. EPOCH .. '|' .. token .. '|' .. worker .. '|' .. detail)
    end
  end
  OF_FLOW, OF_N, OF_UUID = flow, n, uuid
end

-- gather has jot keep its records, and jot_gathered writes them as one entry: an entry for each
-- is a tenth of what a node costs.
local function gather() GATHERED, OF_UUID = {}, nil end
local function jot_gathered()
  if RUN then end_run() end
  local g = GATHERED
  GATHERED = nil
  if #g > 0 then write_records(g) end
end

-- noted writes what was refused into the journal. The answer to the caller does
-- not depend on it: a refusal holds even where nothing can be written.
local function noted(...) pcall(jot, ...) end

-- fence returns the higher epoch that shuts the caller out, or nil. The refusal
-- is journalled: the higher epoch, then what was refused, the verb or as given.
local function fence(what)
  local mine = tonumber(EPOCH)
  if mine == 0 then return nil end
  local stored = tonumber(common()[3] or redis.call('GET', P .. ':epoch') or '0') -- GET fails where MGET finds nothing
  if stored > mine then
    noted('fenced', '', '0', '', '', '0', '', '', str(stored) .. ' ' .. (what or VERB))
    return str(stored)
  end
  if mine > stored then redis.call('SET', P .. ':epoch', EPOCH) end
  return nil
end

-- refuse journals that a worker was turned away, with the token it presented and
-- why: gone (the cycle is), ending, no plan, or the node's status and attempt.
local function refuse(flow, n, uuid, node, attempt, token, worker, why)
  noted('refused', flow, n, uuid, node, attempt, token, worker, VERB .. ': ' .. why)
end

local function standing(status, attempt) return (status or 'waiting') .. ' ' .. (attempt or '0') end

local function post(kind, flow, n, uuid, node, attempt)
  redis.call('XADD', OUTBOX, '*', 'e', kind .. '|' .. flow .. '|' .. n .. '|' .. uuid .. '|' .. node .. '|' .. attempt)
end

-- repaired counts and journals one repair: what was put back, and what was wrong.
local function repaired(kind, cause, flow, n, uuid, node, attempt, token)
  redis.call('HINCRBY', P .. ':repairs', kind, 1)
  jot('repair', flow, n, uuid, node, attempt, token, '', kind .. ': ' .. cause)
end

-- sound reads what a transition may write and has not read otherwise, so that a
-- key of a wrong type ends the script before its first write: Redis rolls no
-- script back. The epoch is exempt, since raising it alone is harmless, and so is
-- the key of the first write, which is its own check. The scripts of a hop and of a start name what
-- they are about to write; the others check all that a transition may.
local function sound_journal()
  now_ms()
  redis.call('XLEN', JOURNAL)
end

local function sound_streams()
  sound_journal()
  redis.call('XLEN', OUTBOX)
end

-- sound_end checks what the end of a cycle writes besides.
local ENDS = false -- whether it has checked what is not the flow's
local function sound_end(flow)
  if not ENDS then
    ENDS = true
    redis.call('ZCARD', P .. ':timers')
    redis.call('ZCARD', P .. ':active')
    redis.call('ZCARD', P .. ':closing')
  end
  redis.call('HLEN', flow_key(flow, 'state'))
end

local function sound()
  sound_streams()
  redis.call('ZCARD', P .. ':leases')
  redis.call('ZCARD', P .. ':timers')
end

local function sound_cycle(base, flow)
  sound_streams()
  sound_end(flow)
  redis.call('ZCARD', P .. ':leases')
  redis.call('HLEN', base .. ':joins')
  redis.call('HLEN', base .. ':outputs')
end

local function sound_repair()
  sound()
  redis.call('HLEN', P .. ':repairs')
end

local function sound_hold(held)
  if held then redis.call('SCARD', P .. ':held:' .. held) end
end

-- hold puts a node into the set of those that wait for the same thing. It comes
-- before the write that says the node is held, and unhold after the one that says
-- it is not: a script that tears in between then leaves a member that means
-- nothing, and never a held node that nobody releases.
local function hold(what, flow, n, uuid, node, attempt)
  redis.call('SADD', P .. ':held:' .. what, flow .. '|' .. n .. '|' .. uuid .. '|' .. node .. '|' .. attempt)
  redis.call('SADD', P .. ':holds', what)
end

-- unhold takes a held node out of the set that keeps it.
local function unhold(held, flow, n, uuid, node, attempt)
  if held then redis.call('SREM', P .. ':held:' .. held, flow .. '|' .. n .. '|' .. uuid .. '|' .. node .. '|' .. attempt) end
end

-- make_ready offers an attempt of a node; fresh says that the node has no record yet.
local function make_ready(base, flow, n, uuid, node, attempt, now, why, fresh)
  local key = node_key(base, node)
  redis.call('HSET', key, 'status', 'ready', 'attempt', attempt, 'ready_at', now)
  if not fresh then redis.call('HDEL', key, 'token', 'suspect', 'blocker', 'held', 'again') end
  post('ready', flow, n, uuid, node, attempt)
  jot('ready', flow, n, uuid, node, attempt, '', '', why)
end

local function lease_member(flow, n, uuid, node) return flow .. '|' .. n .. '|' .. uuid .. '|' .. node end
local function timer_member(kind, flow, n, uuid, node, attempt)
  return kind .. '|' .. flow .. '|' .. n .. '|' .. uuid .. '|' .. node .. '|' .. attempt
end

-- ENDING are the fields of a cycle that close goes by.
local ENDING = { 'status', 'completed_nodes', 'total_nodes', 'failed_nodes', 'unknown_nodes', 'on_failure', 'cause', 'deadline' }

-- close ends the cycle when every node is counted; it is called after each count. s
-- are the fields of ENDING if the caller knows how they stand now.
local function close(base, flow, n, uuid, now, s)
  s = s or redis.call('HMGET', base .. ':status', unpack(ENDING))
  if s[1] ~= 'running' and s[1] ~= 'cancelling' then return false end
  if tonumber(s[2]) < tonumber(s[3]) then return false end
  local final = s[7]
  if not final then
    local bad = tonumber(s[4] or '0') + tonumber(s[5] or '0')
    final = (bad > 0 and s[6] ~= 'continue') and 'failed' or 'completed'
  end
  redis.call('HSET', base .. ':status', 'status', final, 'completed_at', now)
  redis.call('ZREM', P .. ':active', flow .. '|' .. n .. '|' .. uuid)
  if s[8] then redis.call('ZREM', P .. ':timers', timer_member('deadline', flow, n, uuid, '', '0')) end
  redis.call('HINCRBY', flow_key(flow, 'state'), 'active', -1)
  redis.call('HINCRBY', flow_key(flow, 'state'), 'cycles_' .. final, 1)
  redis.call('ZADD', P .. ':closing', now, lease_member(flow, n, uuid, ''))
  post('closed', flow, n, uuid, '', '0')
  jot('cycle_end', flow, n, uuid, '', '0', '', '', final)
  return true
end

-- finish writes a node's final status and counts it, once: callers have checked
-- that the node was not final before. complete does the same with what it has read.
local function finish(base, flow, n, uuid, node, attempt, status, now, token, worker, detail)
  redis.call('HSET', node_key(base, node), 'status', status, 'attempt', attempt, 'completed_at', now)
  redis.call('HDEL', node_key(base, node), 'blocker', 'suspect', 'held', 'due')
  redis.call('HINCRBY', base .. ':status', status .. '_nodes', 1)
  redis.call('HINCRBY', base .. ':status', 'completed_nodes', 1)
  jot('outcome', flow, n, uuid, node, attempt, token, worker, status .. (detail ~= '' and ': ' .. detail or ''))
end

local FINAL = { succeeded = true, failed = true, skipped = true, stopped = true, cancelled = true, unknown = true }

-- alone tells whether the node that ended, and no other, leads to a target, which needs nothing but
-- that these edges are live: it is ready at once, and nothing of it is ever counted. ARGV[a..] is a group of weigh.
local function alone(a) return ARGV[a + 2] == '1' and ARGV[a + 3] == ARGV[a + 1] end

-- counters_of names the fields of joins that count a target's decided edges: live, dead and failed.
local NAMED = {}
local function counters_of(target)
  local names = NAMED[target]
  if not names then
    names = { target .. ':live', target .. ':dead', target .. ':failed' }
    NAMED[target] = names
  end
  return names
end

-- weigh reads what counting decided edges into their targets would make of them. ARGV
-- from i on holds count groups of six: target, in-degree, plain (1 or 0), and how many
-- edges are live, dead and failed. A plain target whose edges are all live becomes
-- ready; any other target that is now decided is posted for the leader. joins is what the caller
-- knows of the counters by name; what it lacks is read into it.
local function weigh(base, i, count, joins)
  local counters, moves, keys, unknown = {}, {}, nil, nil
  local w = { counters = counters, moves = moves } -- counters: name, number, …
  if count == 0 then return w end
  joins = joins or {}
  for a = i, i + 6 * (count - 1), 6 do
    if not alone(a) then
      local names = counters_of(ARGV[a])
      if not joins[names[1]] then
        unknown = unknown or {}
        local u = #unknown
        unknown[u + 1], unknown[u + 2], unknown[u + 3] = names[1], names[2], names[3]
      end
    end
  end
  if unknown then
    local v = redis.call('HMGET', base .. ':joins', unpack(unknown))
    for k = 1, #unknown do joins[unknown[k]] = tonumber(v[k] or '0') end
  end
  for a = i, i + 6 * (count - 1), 6 do
    local target, ready = ARGV[a], true
    if not alone(a) then
      local names, sum, degree, live = counters_of(target), 0, tonumber(ARGV[a + 1]), false
      for r = 1, 3 do
        local have, add = joins[names[r]], ARGV[a + 2 + r]
        if add ~= '0' then
          have = have + tonumber(add)
          local k = #counters
          counters[k + 1], counters[k + 2] = names[r], have
          if r == 1 then live = have end
        end
        sum = sum + have
      end
      ready = ARGV[a + 2] == '1' and live == degree
      if not ready and sum >= degree then moves[#moves + 1] = { node = target } end
    end
    if ready then
      moves[#moves + 1] = { node = target, ready = true }
      keys = keys or {}
      keys[#keys + 1] = node_key(base, target)
    end
  end
  w.fresh = not keys or redis.call('EXISTS', unpack(keys)) == 0 -- nearly always: none has a record yet
  return w
end

-- answer_direct reads what claims of nodes' first attempts are answered with: occasion, slot and failure
-- policy of the cycle, then for each that can be granted its id, its node of the plan and its inputs; nil where none can. c are
-- revision, occasion, slot and failure policy of the cycle, own the outputs by node:handle that are about to be written.
local function answer_direct(base, flow, nodes, c, component, own)
  local asked = {}
  for k = 1, #nodes do
    local node = nodes[k]
    asked[3 * k - 2], asked[3 * k - 1], asked[3 * k] = node, node .. ':in', node .. ':component'
  end
  local p = redis.call('HMGET', flow_key(flow, 'plan:' .. c[1]), unpack(asked))
  local reply, fields, at = { 1, c[2], c[3], c[4] or '' }, {}, {}
  for k = 1, #nodes do
    if p[3 * k - 2] and p[3 * k] == component then
      local answer = { nodes[k], p[3 * k - 2] }
      for f in string.gmatch(p[3 * k - 1] or '', '[^\n]+') do
        local value = own[f]
        answer[#answer + 1] = value or false
        if value == nil then fields[#fields + 1], at[#at + 1] = f, { answer, #answer } end
      end
      reply[#reply + 1] = answer
    end
  end
  if not reply[5] then return nil end
  for from = 1, #fields, 1000 do
    local values = redis.call('HMGET', base .. ':outputs', unpack(fields, from, math.min(from + 999, #fields)))
    for k = 1, #values do
      local place = at[from + k - 1]
      place[1][place[2]] = values[k]
    end
  end
  return reply
end

-- go_direct looks among the moves of w for those that the worker who reports, ARGV[4], may claim at once,
-- with leases of ARGV[5] ms: ARGV[i] token of these claims ('' = none is asked for), [i + 1] how many at most, [i + 2] nodes they may be,
-- each between line feeds. Such a move then starts the node instead of offering it; lease_direct comes before, and after the first write. Returns
-- the answer, or nil.
local DIRECT = {} -- leases: end, member, …
local function go_direct(base, flow, n, uuid, w, i, c, component, own)
  if ARGV[i] == '' then return nil end
  local nodes, moves, most, names = {}, {}, tonumber(ARGV[i + 1]), ARGV[i + 2]
  for _, m in ipairs(w.moves) do
    if m.ready and #nodes < most and string.find(names, '\n' .. m.node .. '\n', 1, true)
      and (w.fresh or redis.call('EXISTS', node_key(base, m.node)) == 0) then
      nodes[#nodes + 1], moves[m.node] = m.node, m
    end
  end
  if #nodes == 0 or redis.call('HGET', flow_key(flow, 'state'), 'status') ~= 'active' then return nil end
  local reply = answer_direct(base, flow, nodes, c, component, own)
  if not reply then return nil end
  local now = now_ms()
  local ends = str(now + tonumber(ARGV[5]))
  now = str(now)
  for k = 5, #reply do
    local node, d = reply[k][1], #DIRECT
    local move = moves[node]
    DIRECT[d + 1], DIRECT[d + 2] = ends, lease_member(flow, n, uuid, node)
    move.start = function()
      redis.call('HSET', node_key(base, node), 'status', 'running', 'attempt', '1', 'ready_at', now, 'token', ARGV[i],
        'worker', ARGV[4], 'started_at', now)
      jot('claim', flow, n, uuid, node, '1', ARGV[i], ARGV[4], 'direct')
    end
  end
  return reply
end

-- lease_direct writes the leases of what goes directly.
local function lease_direct()
  if #DIRECT > 0 then redis.call('ZADD', P .. ':leases', unpack(DIRECT)) end
end

-- spread_edges counts edges as weigh, called before by those who may not have
-- written yet, or now, has found.
local function spread_edges(base, flow, n, uuid, i, count, now, w)
  w = w or weigh(base, i, count)
  for k = 2, #w.counters, 2 do w.counters[k] = str(w.counters[k]) end
  for from = 1, #w.counters, 1000 do
    redis.call('HSET', base .. ':joins', unpack(w.counters, from, math.min(from + 999, #w.counters)))
  end
  local at = str(now)
  for _, m in ipairs(w.moves) do
    if m.start then
      m.start()
    elseif not m.ready then
      post('decide', flow, n, uuid, m.node, '0')
    elseif w.fresh or redis.call('EXISTS', node_key(base, m.node)) == 0 then
      make_ready(base, flow, n, uuid, m.node, '1', at, 'inputs', true)
    end
  end
end

-- spread_out counts the edges of a node that ended: ARGV[i] successors in all,
-- ARGV[i + 1] of them given here, in groups from j on. The leader counts the rest.
local function spread_out(base, flow, n, uuid, node, i, j, now, w)
  spread_edges(base, flow, n, uuid, j, tonumber(ARGV[i + 1]), now, w)
  if tonumber(ARGV[i]) > tonumber(ARGV[i + 1]) then
    redis.call('HSET', node_key(base, node), 'spread', ARGV[i + 1])
    post('spread', flow, n, uuid, node, '0')
  end
end

-- give_up applies the flow's failure policy to a node that failed for good: its
-- component ends, or, under continue, its edges count as failed (see spread_out).
local function give_up(base, flow, n, uuid, node, attempt, why, policy, component, i, now)
  redis.call('HSETNX', base .. ':status', 'error', node .. ': ' .. why)
  post('alert', flow, n, uuid, node, attempt)
  if policy == 'continue' then
    spread_out(base, flow, n, uuid, node, i, i + 2, now)
  else
    redis.call('HSET', base .. ':status', component, 'failed')
    post('sweep', flow, n, uuid, node, '0')
  end
end
