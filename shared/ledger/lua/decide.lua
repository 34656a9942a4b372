#!lua flags=allow-oom
-- decide: carries out what the leader decided about a node whose inputs are all decided.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] node, [7] verdict (run | skip), [8] reason, [9] outbox entry, [10] successors in all,
-- ARGV[11] of those given here (at most 256), [12] component, [13..] groups of six (see spread_edges)
-- Reply: {1} done | {2} was decided before | {0, higher epoch} | {-1} cycle gone or takes no more
local higher = fence()
if higher then return { 0, higher } end
local flow, n, uuid, node = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local base = cycle_key(flow, n)
local c = redis.call('HMGET', base .. ':status', 'uuid', 'status', 'component:' .. ARGV[12])
sound_cycle(base, flow)
if ARGV[9] ~= '' then redis.call('XDEL', P .. ':outbox', ARGV[9]) end
if c[1] ~= uuid or c[2] ~= 'running' or c[3] then return { -1 } end
if redis.call('EXISTS', node_key(base, node)) == 1 then return { 2 } end
local now = now_ms()
if ARGV[7] == 'run' then
  make_ready(base, flow, n, uuid, node, '1', str(now), ARGV[8])
  return { 1 }
end
redis.call('HSET', node_key(base, node), 'reason', ARGV[8])
finish(base, flow, n, uuid, node, '0', 'skipped', str(now), '', '', ARGV[8])
spread_out(base, flow, n, uuid, node, 10, 13, now)
close(base, flow, n, uuid, str(now))
return { 1 }
