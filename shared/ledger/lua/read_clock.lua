#!lua flags=allow-oom
-- read_clock: tells the clocks of one instant.
-- Reply: {1, seconds of Redis TIME, microseconds, correction (ms) that makes it the ledger's clock, what scripts go by (ms)}
local t, add = redis.call('TIME'), redis.call('GET', P .. ':clock')
return { 1, t[1], t[2], add and str(tonumber(add) or 0) or '0', str(now_ms()) }
