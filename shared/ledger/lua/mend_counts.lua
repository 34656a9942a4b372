#!lua flags=allow-oom
-- mend_counts: the audit replaces counters that do not agree with the node states, if they are still as it saw them.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] completed_nodes seen, [7] number of counters of the cycle, then name, value;
-- then the joins to set: field, value seen ('' = none), value right (at most 1000 groups)
-- Reply: {1, joins set} | {2} is otherwise by now | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
local flow, n, uuid = ARGV[3], ARGV[4], ARGV[5]
local base = cycle_key(flow, n)
local c = redis.call('HMGET', base .. ':status', 'uuid', 'status', 'completed_nodes')
if c[1] ~= uuid or (c[2] ~= 'running' and c[2] ~= 'cancelling') or c[3] ~= ARGV[6] then return { 2 } end
sound_cycle(base, flow)
sound_repair()
local counters, set = tonumber(ARGV[7]), 0
for i = 0, counters - 1 do redis.call('HSET', base .. ':status', ARGV[8 + 2 * i], ARGV[9 + 2 * i]) end
for i = 8 + 2 * counters, #ARGV, 3 do
  if (redis.call('HGET', base .. ':joins', ARGV[i]) or '') == ARGV[i + 1] then
    redis.call('HSET', base .. ':joins', ARGV[i], ARGV[i + 2])
    set = set + 1
  end
end
repaired('counts', 'counters differ from the states of the nodes', flow, n, uuid, '', '0', '')
close(base, flow, n, uuid, str(now_ms()))
return { 1, set }
