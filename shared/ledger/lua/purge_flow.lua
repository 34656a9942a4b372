#!lua flags=allow-oom
-- purge_flow: removes what is left of a deleted flow once its cycles are gone.
-- ARGV[3] flow, [4] id of the outbox entry that asked for it, or ''
-- Reply: {1} removed | {0, higher epoch} | {2, cycles} cycles are left | {3} is not being deleted
local higher = fence()
if higher then return { 0, higher } end
local flow = ARGV[3]
local key = flow_key(flow, 'state')
sound()
redis.call('SCARD', P .. ':flows')
redis.call('SCARD', P .. ':holds')
local status = redis.call('HGET', key, 'status')
if status and status ~= 'deleting' then
  if ARGV[4] ~= '' then redis.call('XDEL', OUTBOX, ARGV[4]) end
  return { 3 }
end
local left = redis.call('ZCARD', flow_key(flow, 'cycles'))
if left > 0 then return { 2, left } end
local fields = redis.call('HKEYS', key)
for _, f in ipairs(fields) do
  if string.sub(f, 1, 5) == 'plan:' then redis.call('UNLINK', flow_key(flow, f)) end
end
redis.call('UNLINK', key, flow_key(flow, 'config'), flow_key(flow, 'cycles'), flow_key(flow, 'triggers'), P .. ':held:flow:' .. flow)
redis.call('SREM', P .. ':flows', flow)
redis.call('SREM', P .. ':holds', 'flow:' .. flow)
if ARGV[4] ~= '' then redis.call('XDEL', OUTBOX, ARGV[4]) end
jot('flow_purged', flow, '0', '', '', '0', '', '', '')
return { 1 }
