#!lua flags=allow-oom
-- once_era: remembers which etcd has the once-keys, and since when: of claims before that, a missing key proves nothing.
-- ARGV[3] the era, a name that an etcd gets once and keeps as long as its data
-- Reply: {1, since (ms)} | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
local key = P .. ':once'
local s = redis.call('HMGET', key, 'era', 'since')
if s[1] == ARGV[3] and s[2] then return { 1, s[2] } end
local now = str(now_ms())
redis.call('HSET', key, 'era', ARGV[3], 'since', now)
return { 1, now }
