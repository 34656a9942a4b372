#!lua flags=allow-oom
-- beat_worker: says that a worker is alive, and what it carries.
-- ARGV[3] worker id, [4] time to live (ms), [5] leaving (1 or 0), [6..] fields and values of its record
-- Reply: {1}
-- The record itself says how long it is worth anything, by the ledger's clock. That
-- it goes at last only keeps dead names from piling up: keys expire by a clock that may be set.
local key = P .. ':worker:' .. ARGV[3]
redis.call('SCARD', P .. ':workers')
local now = str(now_ms())
if ARGV[5] == '1' then
  redis.call('UNLINK', key)
  redis.call('SREM', P .. ':workers', ARGV[3])
  return { 1 }
end
for i = 6, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
redis.call('HSET', key, 'last_beat', now, 'ttl', ARGV[4])
redis.call('PEXPIRE', key, str(tonumber(ARGV[4]) + 7200000))
redis.call('SADD', P .. ':workers', ARGV[3])
return { 1 }
