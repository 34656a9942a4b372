#!lua flags=allow-oom
-- set_clock: the leader corrects the ledger's clock after Redis's was set, if the correction is still the one it saw.
-- ARGV[3] correction seen (ms), [4] correction from now on (ms)
-- Reply: {1} set | {2} stands already | {-1, correction found} it is another by now | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
redis.call('XLEN', JOURNAL)
local found = redis.call('GET', P .. ':clock') or '0'
if not tonumber(found) then found = '0' end
if found == ARGV[4] then return { 2 } end
if found ~= ARGV[3] then return { -1, found } end
local t = redis.call('TIME')
redis.call('SET', P .. ':clock', ARGV[4])
redis.call('SET', P .. ':clock_at', str(tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)))
if math.abs(tonumber(ARGV[4]) - tonumber(ARGV[3])) > 200 then -- not every small step back to Redis's own clock
  jot('clock_set', '', '0', '', '', '0', '', '', ARGV[3] .. ' ' .. ARGV[4])
end
return { 1 }
