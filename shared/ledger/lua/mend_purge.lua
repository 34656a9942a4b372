#!lua flags=allow-oom
-- mend_purge: asks once more for the removal of a deleted flow's records.
-- ARGV[3] flow
-- Reply: {1} posted | {2} it is not being deleted | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
if redis.call('HGET', flow_key(ARGV[3], 'state'), 'status') ~= 'deleting' then return { 2 } end
sound_repair()
post('purge', ARGV[3], '0', '', '', '0')
repaired('purge', 'deleted, and no entry asks for the removal of its records', ARGV[3], '0', '', '', '0', '')
return { 1 }
