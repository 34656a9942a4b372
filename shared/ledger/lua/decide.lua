#!lua flags=allow-oom
-- decide: carries out what the leader decided about a node whose inputs are all decided.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] node, [7] verdict (run | skip), [8] reason, [9] outbox entry, [10] successors in all,
-- ARGV[11] of those given here (at most 256), [12] component, [13] decided inputs that the verdict rests on: live dead failed,
-- ARGV[14..] groups of six (see weigh)
-- Reply: {1} done | {2} was decided before | {0, higher epoch} | {-1} cycle gone or takes no more
--        {-2} the inputs are others by now: Redis went back in time, or a repair changed their counts; the entry stays
local higher = fence()
if higher then return { 0, higher } end
local flow, n, uuid, node = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local base = cycle_key(flow, n)
local c = redis.call('HMGET', base .. ':status', 'uuid', 'status', 'component:' .. ARGV[12])
sound_cycle(base, flow)
local open = c[1] == uuid and c[2] == 'running' and not c[3]
if open and redis.call('EXISTS', node_key(base, node)) == 0 then
  local j = redis.call('HMGET', base .. ':joins', node .. ':live', node .. ':dead', node .. ':failed')
  if (j[1] or '0') .. ' ' .. (j[2] or '0') .. ' ' .. (j[3] or '0') ~= ARGV[13] then return { -2 } end
end
if ARGV[9] ~= '' then redis.call('XDEL', OUTBOX, ARGV[9]) end
if not open then return { -1 } end
if redis.call('EXISTS', node_key(base, node)) == 1 then return { 2 } end
local now = now_ms()
if ARGV[7] == 'run' then
  make_ready(base, flow, n, uuid, node, '1', str(now), ARGV[8])
  return { 1 }
end
-- With the status, lest a script that tears leaves a record that is no state.
redis.call('HSET', node_key(base, node), 'status', 'skipped', 'reason', ARGV[8])
finish(base, flow, n, uuid, node, '0', 'skipped', str(now), '', '', ARGV[8])
spread_out(base, flow, n, uuid, node, 10, 14, now)
close(base, flow, n, uuid, str(now))
return { 1 }
