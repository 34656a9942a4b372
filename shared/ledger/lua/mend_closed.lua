#!lua flags=allow-oom
-- mend_closed: tells the leader once more of an ended cycle that nobody has heard of yet.
-- ARGV[3] flow, [4] cycle, [5] uuid
-- Reply: {1} posted | {2} it was heard of | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
local flow, n, uuid = ARGV[3], ARGV[4], ARGV[5]
local member = lease_member(flow, n, uuid, '')
if not redis.call('ZSCORE', P .. ':closing', member) then return { 2 } end
sound_repair()
if redis.call('HGET', cycle_key(flow, n) .. ':status', 'uuid') ~= uuid then
  redis.call('ZREM', P .. ':closing', member)
  return { 2 }
end
post('closed', flow, n, uuid, '', '0')
repaired('closed', 'ended, and the entry that tells so is lost', flow, n, uuid, '', '0', '')
return { 1 }
