#!lua flags=allow-oom
-- confirm_clock: the leader found Redis's clock right, with the correction it saw.
-- ARGV[3] correction seen (ms)
-- Reply: {1} | {-1, correction found} it is another by now | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
local t, found = redis.call('TIME'), redis.call('GET', P .. ':clock') or '0'
if not tonumber(found) then found = '0' end
if found ~= ARGV[3] then return { -1, found } end
redis.call('SET', P .. ':clock_at', str(tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)))
return { 1 }
