-- requires: text clock commit memory record turns
-- flags: allow-oom
-- Reads what there is to see of all requests, in one step: counters, not the requests themselves. Where
-- Redis is full somebody has to look, too.
--
-- KEYS    none: the counters and indexes are fixed names
-- ARGV    1 options (JSON): counts, dead_letter_ttl_s, result_ttl_s
--         2… lanes
-- returns now, the counters (field, value; flat), how many dead letters there are; of each lane (flat)
--         how many are open, the second in which the oldest was accepted, when the first is due, when the
--         first was accepted that waits for its turn; bytes that the server uses, or '', and its maxmemory
local lanes = {}
local used, limit = memory()

local function first_of(key)
  return redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] or ''
end

-- Of those whose turns come next the one that has waited longest.
local TURNS_LOOKED_AT = 10
local function waits_since(lane)
  local since
  for _, whose in ipairs(redis.call('LRANGE', TURNS .. lane, 0, TURNS_LOOKED_AT - 1)) do
    local ids = look_at_line(BACKLOG .. lane .. ':' .. whose, whose, 1)
    local request = ids and ids[1] and load_record(ids[1])
    if request and request.accepted_at then since = math.min(since or now, request.accepted_at) end
  end
  return since and whole(since) or ''
end

for index = 2, #ARGV do
  local due = DUE .. ARGV[index]
  lanes[#lanes + 1] = redis.call('ZCARD', due)
  lanes[#lanes + 1] = first_of(AGE .. ARGV[index])
  lanes[#lanes + 1] = first_of(due)
  lanes[#lanes + 1] = waits_since(ARGV[index])
end
local server = {used and whole(used) or '', whole(limit)}
commit()
return {whole(now), redis.call('HGETALL', COUNTS), redis.call('ZCARD', DEAD), lanes, unpack(server)}
