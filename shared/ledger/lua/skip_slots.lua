#!lua flags=allow-oom
-- skip_slots: accounts a run of slots that will not become cycles.
-- ARGV[3] flow, [4] first slot (ms), [5] last slot (ms), [6] how many, [7] reason, [8] uid,
-- ARGV[9] last slot that the caller knows to be accounted (ms, '' = none)
-- Reply: {1} accounted | {2} was accounted before | {0, higher epoch} | {-1} no such flow | {-4} a part of them is accounted already
--        {-7} the last slot that the caller knows of is not accounted: Redis went back in time
local higher = fence()
if higher then return { 0, higher } end
local flow = ARGV[3]
local key = flow_key(flow, 'state')
local s = redis.call('HMGET', key, 'status', 'last_slot', 'uid')
if not s[1] or s[1] == 'deleting' or s[3] ~= ARGV[8] then return { -1 } end
if s[2] and tonumber(s[2]) >= tonumber(ARGV[5]) then return { 2 } end
if s[2] and tonumber(s[2]) >= tonumber(ARGV[4]) then return { -4 } end
if ARGV[9] ~= '' and tonumber(s[2] or '0') < tonumber(ARGV[9]) then return { -7 } end
redis.call('XLEN', JOURNAL)
local field = 'slots_skipped:' .. ARGV[7]
redis.call('HSET', key, 'last_slot', ARGV[5], field, str(tonumber(redis.call('HGET', key, field) or '0') + tonumber(ARGV[6]))) -- one command: see start_cycle
jot('slot_skipped', flow, '0', '', '', '0', '', '', ARGV[4] .. ' ' .. ARGV[5] .. ' ' .. ARGV[6] .. ' ' .. ARGV[7])
return { 1 }
