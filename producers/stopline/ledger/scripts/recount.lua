-- requires: text layouts
-- flags: allow-oom
-- Counts what is open anew, in one step, and says where the counters say otherwise. Larger ledgers than
-- `limit` are left alone: nothing else runs meanwhile.
--
-- KEYS    none: the counters and indexes are fixed names
-- ARGV    1 options (JSON): limit, repair
--           repair: write what was counted
--         2… lanes
-- returns how many are open; then of each counter that is wrong (flat) its name, what it says, what is
--         there; nothing where there are more than `limit`
local total = 0
for index = 2, #ARGV do total = total + redis.call('ZCARD', DUE .. ARGV[index]) end
if total > options.limit then return {total, false} end

-- What was accepted before counting began is not counted; where it is put right, all is.
local since = not options.repair and tonumber(redis.call('HGET', COUNTS, 'since') or nil) or 0
local counts, ages = {}, {}
for index = 2, #ARGV do
  for _, id in ipairs(redis.call('ZRANGE', DUE .. ARGV[index], 0, -1)) do
    local raw = redis.call('GET', RECORD .. id)
    local request = raw and decode_record(raw)
    if request and request.accepted_at >= since then
      local field = 'open:' .. request.lane .. ':' .. request.state
      local age = request.lane .. ':' .. whole(math.floor(request.accepted_at / 1000000))
      counts[field] = (counts[field] or 0) + 1
      ages[age] = (ages[age] or 0) + 1
    end
  end
end

local wrong = {}

local function compare(key, there, is_ours)
  local said = redis.call('HGETALL', key)
  for index = 1, #said, 2 do
    local field, value = said[index], tonumber(said[index + 1])
    if is_ours(field) then
      if value ~= (there[field] or 0) then
        wrong[#wrong + 1], wrong[#wrong + 2] = field, whole(value)
        wrong[#wrong + 1] = whole(there[field] or 0)
        if options.repair then redis.call('HSET', key, field, there[field] or 0) end
      end
      there[field] = nil
    end
  end
  for field, value in pairs(there) do
    wrong[#wrong + 1], wrong[#wrong + 2], wrong[#wrong + 3] = field, '0', whole(value)
    if options.repair then redis.call('HSET', key, field, value) end
  end
end

local function write_ages()
  redis.call('DEL', AGES)
  for index = 2, #ARGV do redis.call('DEL', AGE .. ARGV[index]) end
  for field, value in pairs(ages) do
    local lane, second = string.match(field, '^([^:]+):(%d+)$')
    redis.call('HSET', AGES, field, value)
    redis.call('ZADD', AGE .. lane, second, second)
  end
end

compare(COUNTS, counts, function(field) return string.sub(field, 1, 5) == 'open:' end)
if options.repair then
  redis.call('HSET', COUNTS, 'since', 0)
  write_ages()
else
  compare(AGES, ages, function() return true end)
end
return {total, wrong}
