-- requires: text clock commit
-- Counters, changed once at the end of a script however many requests it touches: until then nothing is
-- put into a text, which would cost as much as the rest.
--
-- COUNTS  hash: `open:lane:state`, `receipt:kind`, `refused:why`, `outcome:lane:outcome`,
--         `attempt:verdict:status`, `stop:lane:bucket` and `stop:lane:us`, `call:bucket`, `call:us`; events;
--         `since`: when counting began
-- AGES    hash: `lane:second`: open requests that were accepted in it
-- AGE     … lane, sorted set: those seconds, so that the oldest is the first
local tallied = {age = {}}

-- `kind:of:which`; `kind:of` where `which` is ''.
local function tally(kind, of, which, by)
  local some = tallied[kind]
  if not some then
    some = {}
    tallied[kind] = some
  end
  local counts = some[of]
  if not counts then
    counts = {}
    some[of] = counts
  end
  counts[which] = (counts[which] or 0) + by
end

-- What was accepted before anything was counted, by an older version, is not counted when it ends.
local since
local function is_counted(request)
  if not since then
    since = tonumber(redis.call('HGET', COUNTS, 'since') or nil)
    if not since then
      since = now
      redis.call('HSET', COUNTS, 'since', whole(now))
    end
  end
  return request.accepted_at >= since
end

-- A request stands elsewhere from here on; where `lane` is nil, nowhere.
local function move(request, lane, state)
  local from_lane, from_state = request.stood_lane, request.stood_state
  if from_lane == lane and from_state == state or not is_counted(request) then return end
  if from_lane then tally('open', from_lane, from_state, -1) end
  if lane then tally('open', lane, state, 1) end
  if from_lane ~= lane then
    local second = math.floor(request.accepted_at / 1000000)
    if from_lane then tally('age', from_lane, second, -1) end
    if lane then tally('age', lane, second, 1) end
  end
  request.stood_lane, request.stood_state = lane, state
end

local function write_age(lane, second, by)
  local field = lane .. ':' .. second
  local left = redis.call('HINCRBY', AGES, field, by)
  if left <= 0 then
    redis.call('HDEL', AGES, field)
    redis.call('ZREM', AGE .. lane, second)
  elseif left == by then
    redis.call('ZADD', AGE .. lane, second, second)
  end
end

at_commit(function()
  local ages = tallied.age
  tallied.age = nil
  for kind, some in pairs(tallied) do
    for of, counts in pairs(some) do
      for which, by in pairs(counts) do
        local field = kind .. ':' .. of .. (which == '' and '' or ':' .. which)
        if by ~= 0 then redis.call('HINCRBY', COUNTS, field, by) end
      end
    end
  end
  for lane, counts in pairs(ages) do
    for second, by in pairs(counts) do
      if by ~= 0 then write_age(lane, whole(second), by) end
    end
  end
end)
