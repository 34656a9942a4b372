#!lua flags=allow-oom
-- delete_flow: shuts the flow; the leader then removes its cycles and its keys.
-- ARGV[3] flow
-- Reply: {1} shut | {2} was shut already | {-1} no such flow
local key = flow_key(ARGV[3], 'state')
local status = redis.call('HGET', key, 'status')
if not status then return { -1 } end
sound()
redis.call('ZCARD', P .. ':deleted')
if status == 'deleting' then
  post('purge', ARGV[3], '0', '', '', '0') -- the entry may be lost; purging twice is harmless
  return { 2 }
end
local uid = redis.call('HGET', key, 'uid')
redis.call('HSET', key, 'status', 'deleting')
if uid then -- known for long, so that an older copy of the catalog can't bring it back
  redis.call('ZADD', P .. ':deleted', str(now_ms()), uid)
  redis.call('ZREMRANGEBYRANK', P .. ':deleted', 0, -1001)
end
post('purge', ARGV[3], '0', '', '', '0')
jot('flow_deleted', ARGV[3], '0', '', '', '0', '', '', '')
return { 1 }
