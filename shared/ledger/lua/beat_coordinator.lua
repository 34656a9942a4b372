#!lua flags=allow-oom
-- beat_coordinator: says where a coordinator's API is, for the workers.
-- ARGV[3] coordinator id, [4] time to live (ms), [5] leaving (1 or 0), [6] URL of the API, [7] name of its machine
-- Reply: {1}
local key = P .. ':coordinators'
local now = now_ms()
redis.call('ZREMRANGEBYSCORE', key, '-inf', str(now))
local member = ARGV[3] .. '|' .. ARGV[7] .. '|' .. ARGV[6]
if ARGV[5] == '1' then
  redis.call('ZREM', key, member)
  return { 1 }
end
redis.call('ZADD', key, str(now + tonumber(ARGV[4])), member)
return { 1 }
