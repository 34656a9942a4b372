#!lua flags=allow-oom
-- release_held: offers a part of what was held for one reason again.
-- ARGV[3] what they waited for (part of the key), [4] how many at most (256; 0 = only forget a reason nobody waits for), [5] outbox entry to remove when none is left, or ''
-- Reply: {1, offered, left} | {0, higher epoch}
local higher = fence()
if higher then return { 0, higher } end
local set, now, offered = P .. ':held:' .. ARGV[3], str(now_ms()), 0
local picked, found = redis.call('SRANDMEMBER', set, ARGV[4]), {}
sound()
redis.call('SCARD', P .. ':holds')
for i, member in ipairs(picked) do
  local flow, n, uuid, node, attempt = string.match(member, '^([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)$')
  if flow then
    local base = cycle_key(flow, n)
    local s = redis.call('HMGET', node_key(base, node), 'status', 'attempt', 'held')
    local open = s[1] == 'ready' or s[1] == 'dispatched'
    if redis.call('HGET', base .. ':status', 'uuid') == uuid and open and s[2] == attempt and s[3] == ARGV[3] then
      found[i] = { base, flow, n, uuid, node, attempt }
    end
  end
end
for i, member in ipairs(picked) do
  local f = found[i]
  if f then
    make_ready(f[1], f[2], f[3], f[4], f[5], f[6], now, 'released')
    offered = offered + 1
  end
  redis.call('SREM', set, member) -- last: see unhold
end
local left = redis.call('SCARD', set)
if left == 0 then
  redis.call('SREM', P .. ':holds', ARGV[3])
  if ARGV[5] ~= '' then redis.call('XDEL', OUTBOX, ARGV[5]) end
end
return { 1, offered, left }
