#!lua flags=allow-oom
-- drop_entries: removes outbox entries that were acted on or have nothing left to act on.
-- ARGV[3..] entry ids (at most 1000)
-- Reply: {1} | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
if ARGV[3] then redis.call('XDEL', OUTBOX, unpack(ARGV, 3)) end
return { 1 }
