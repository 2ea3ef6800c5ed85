-- requires: text clock memory
-- flags: allow-oom
-- Reads what there is to see of all requests, in one step: counters, not the requests themselves. Where
-- Redis is full somebody has to look, too.
--
-- KEYS    none: the counters and indexes are fixed names
-- ARGV    1 options (JSON): dead_letter_ttl_s, result_ttl_s
--         2… lanes
-- returns now, the counters (field, value; flat), how many dead letters there are; of each lane (flat)
--         how many are open, the second in which the oldest was accepted, when the first is due; bytes
--         that the server uses, or '', and its maxmemory
local lanes = {}
local used, limit = memory()

local function first_of(key)
  return redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] or ''
end

for index = 2, #ARGV do
  local due = DUE .. ARGV[index]
  lanes[#lanes + 1] = redis.call('ZCARD', due)
  lanes[#lanes + 1] = first_of(AGE .. ARGV[index])
  lanes[#lanes + 1] = first_of(due)
end
return {whole(now), redis.call('HGETALL', COUNTS), redis.call('ZCARD', DEAD), lanes,
  used and whole(used) or '', whole(limit)}
