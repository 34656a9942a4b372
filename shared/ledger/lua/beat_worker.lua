#!lua flags=allow-oom
-- beat_worker: says that a worker is alive, and what it carries.
-- ARGV[3] worker id, [4] time to live (ms), [5] leaving (1 or 0), [6..] fields and values of its record
-- Reply: {1}
local key = P .. ':worker:' .. ARGV[3]
redis.call('SCARD', P .. ':workers')
if ARGV[5] == '1' then
  redis.call('UNLINK', key)
  redis.call('SREM', P .. ':workers', ARGV[3])
  return { 1 }
end
for i = 6, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
redis.call('HSET', key, 'last_beat', str(now_ms()))
redis.call('PEXPIRE', key, ARGV[4])
redis.call('SADD', P .. ':workers', ARGV[3])
return { 1 }
