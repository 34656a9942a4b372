#!lua flags=allow-oom
-- note_repair: counts and journals a repair that another verb, or the leader itself, has made.
-- ARGV[3] flow, [4] cycle, [5] uuid, [6] node, [7] attempt, [8] kind, [9] what was wrong
-- Reply: {1} | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
sound_repair()
repaired(ARGV[8], ARGV[9], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], '')
return { 1 }
