#!lua flags=allow-oom
-- mend_active: takes a cycle whose record is lost, or says that it has ended, out of the set of open cycles.
-- ARGV[3] flow, [4] cycle, [5] uuid
-- Reply: {1} taken out | {2} it is open, or not there | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
local flow, n, uuid = ARGV[3], ARGV[4], ARGV[5]
local c = redis.call('HMGET', cycle_key(flow, n) .. ':status', 'uuid', 'status')
if c[1] == uuid and (c[2] == 'running' or c[2] == 'cancelling' or c[2] == 'deleting') then return { 2 } end
sound_repair()
if redis.call('ZREM', P .. ':active', flow .. '|' .. n .. '|' .. uuid) == 0 then return { 2 } end
repaired('stray', 'listed as open, and its record is gone', flow, n, uuid, '', '0', '')
return { 1 }
