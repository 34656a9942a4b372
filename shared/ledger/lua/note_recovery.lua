#!lua flags=allow-oom
-- note_recovery: journals that the cluster went on after a server had lost data, and keeps the latest of these for people.
-- ARGV[3] what happened, [4] what was done, [5] kind of repair to count or '', [6] how many of them
-- Reply: {1}
redis.call('XLEN', JOURNAL)
redis.call('LLEN', P .. ':recoveries')
redis.call('HLEN', P .. ':repairs')
jot('recovery', '', '0', '', '', '0', '', '', ARGV[3] .. ': ' .. ARGV[4])
redis.call('LPUSH', P .. ':recoveries', str(now_ms()) .. ' ' .. ARGV[3] .. ': ' .. ARGV[4])
redis.call('LTRIM', P .. ':recoveries', 0, 19)
if ARGV[5] ~= '' then redis.call('HINCRBY', P .. ':repairs', ARGV[5], ARGV[6]) end
return { 1 }
