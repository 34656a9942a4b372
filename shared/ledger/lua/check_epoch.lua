#!lua flags=allow-oom
-- check_epoch: asks whether a leader may still act outside the ledger, where nothing else would refuse it.
-- ARGV[3] what it is about to do, and how often (publish 12)
-- Reply: {1} | {0, higher epoch}
local higher = fence(ARGV[3])
if higher then return { 0, higher } end
return { 1 }
