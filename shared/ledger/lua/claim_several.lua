#!lua flags=allow-oom
-- claim_several: grants attempts to workers who ask at the same time, as claim does one after the other.
-- ARGV[3] worker, [4] lease (ms), [5] lease left to a suspect (ms), [6..] groups of seven, each as claim takes them: flow,
-- cycle, uuid, node, attempt, token, redelivered (at most 32 groups)
-- Reply: for each group what claim answers when it grants, or 0: nothing was done, claim has to be called.
-- Only what is plainly to be granted is granted here, so that every refusal and all that is special stands in claim
-- alone. A second group of a node is not plain either: nothing is read after the first write.
local cycles, flows, plans, seen = {}, {}, {}, {}
local asked, granted, replies = {}, {}, {}
local of, no, base -- calls of one cycle come together, as a rule

-- Who asks for a node that can be had, and what is to be read of its plan.
for i = 6, #ARGV, 7 do
  local flow, node = ARGV[i], ARGV[i + 3]
  if flow ~= of or ARGV[i + 1] ~= no then
    of, no = flow, ARGV[i + 1]
    base = cycle_key(of, no)
  end
  local key = node_key(base, node)
  local c = cycles[base]
  if not c then
    c = redis.call('HMGET', base .. ':status', 'uuid', 'status', 'revision', 'occasion', 'slot', 'on_failure', 'component:0')
    cycles[base] = c
  end
  replies[#replies + 1] = 0
  if c[1] == ARGV[i + 2] and c[2] == 'running' and not seen[key] then
    seen[key] = true
    local s = redis.call('HMGET', key, 'status', 'attempt', 'retry_count', 'held', 'blocker', 'suspect')
    if s[2] == ARGV[i + 4] and (s[1] == 'ready' or s[1] == 'dispatched') and not (s[4] or s[5] or s[6]) then
      if flows[flow] == nil then flows[flow] = redis.call('HGET', flow_key(flow, 'state'), 'status') end
      if flows[flow] == 'active' then
        c.plan = c.plan or flow_key(flow, 'plan:' .. c[3])
        local plan = c.plan
        local fields = plans[plan]
        if not fields then
          fields = {}
          plans[plan] = fields
        end
        asked[#asked + 1] = { i = i, k = #replies, base = base, key = key, c = c, retries = s[3], plan = plan, at = #fields }
        fields[#fields + 1], fields[#fields + 2], fields[#fields + 3] = node, node .. ':in', node .. ':component'
      end
    end
  end
end
if #asked == 0 then return replies end
for plan, fields in pairs(plans) do plans[plan] = redis.call('HMGET', plan, unpack(fields)) end

-- Which components still run, and what is to be read of the outputs.
local outputs = {}
for _, a in ipairs(asked) do
  local p, c = plans[a.plan], a.c
  local node, inputs, component = p[a.at + 1], p[a.at + 2], p[a.at + 3]
  local over = c[7]
  if node and component ~= '0' then
    local field = 'component:' .. component
    if c[field] == nil then c[field] = redis.call('HGET', a.base .. ':status', field) end
    over = c[field]
  end
  if node and not over then
    a.reply = { 1, node, c[4], c[5], a.retries or '0', c[6] or '' }
    granted[#granted + 1] = a
    if inputs and inputs ~= '' then
      a.fields = {}
      local o = outputs[a.base]
      if not o then
        o = { fields = {}, value = {} }
        outputs[a.base] = o
      end
      for f in string.gmatch(inputs, '[^\n]+') do
        a.fields[#a.fields + 1] = f
        if o.value[f] == nil then o.fields[#o.fields + 1], o.value[f] = f, false end
      end
    end
  end
end
if #granted == 0 then return replies end
for key, o in pairs(outputs) do
  for from = 1, #o.fields, 1000 do
    local values = redis.call('HMGET', key .. ':outputs', unpack(o.fields, from, math.min(from + 999, #o.fields)))
    for k = 1, #values do o.value[o.fields[from + k - 1]] = values[k] end
  end
end
sound_journal()
local now, leases = now_ms(), {}
local ends = str(now + tonumber(ARGV[4]))
for g, a in ipairs(granted) do
  local i, reply = a.i, a.reply
  if a.fields then
    local value = outputs[a.base].value
    for k = 1, #a.fields do reply[#reply + 1] = value[a.fields[k]] end
  end
  replies[a.k] = reply
  leases[2 * g - 1], leases[2 * g] = ends, lease_member(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
end
redis.call('ZADD', P .. ':leases', unpack(leases))
now = str(now)
gather()
for _, a in ipairs(granted) do
  local flow, n, uuid, node, attempt, token = unpack(ARGV, a.i, a.i + 5)
  redis.call('HSET', a.key, 'status', 'running', 'token', token, 'worker', ARGV[3], 'started_at', now)
  jot('claim', flow, n, uuid, node, attempt, token, ARGV[3], '')
end
jot_gathered()
return replies
