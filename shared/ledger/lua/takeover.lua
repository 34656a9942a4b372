#!lua flags=allow-oom
-- takeover: makes an epoch the one that may write, before the new leader reads anything.
-- ARGV[3] schema number of the caller
-- Reply: {1, now} | {0, higher epoch} | {-1, schema found}
local schema = redis.call('GET', P .. ':schema')
if schema and schema ~= ARGV[3] then return { -1, schema } end
redis.call('XLEN', JOURNAL)
local now = now_ms()
local higher = fence()
if higher then return { 0, higher } end
if not schema then redis.call('SET', P .. ':schema', ARGV[3]) end
jot('takeover', '', '0', '', '', '0', '', '', '')
return { 1, str(now) }
