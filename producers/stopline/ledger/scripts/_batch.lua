-- requires: text clock commit
-- Batch counters change many times in one script; they are gathered and written once at its end.
local changes = {}
-- So many batches may wait for one request; each makes the record longer, and with it each join.
local BATCHES_MAX = 1000

local function count(batch_id, field, by)
  local batch = changes[batch_id]
  if not batch then
    batch = {}
    changes[batch_id] = batch
  end
  batch[field] = (batch[field] or 0) + by
end

-- 'batch=2,other=1' → f('batch', 2), f('other', 1)
local function each_batch(batches, f)
  for batch_id, wishes in string.gmatch(batches or '', '([^=,]+)=(%d+)') do
    f(batch_id, tonumber(wishes))
  end
end

-- Where the wishes of a batch stand in such a text: the first digit, or nil.
local function find_batch(batches, batch_id)
  local _, last = string.find(',' .. batches, ',' .. batch_id .. '=', 1, true)
  return last
end

-- A batch more would make the record larger; a wish more of a batch that it has would not.
local function batches_are_full(batches, batch_id)
  if not batches or find_batch(batches, batch_id) then return false end
  local _, known = string.gsub(batches, '=', '')
  return known >= BATCHES_MAX
end

local function add_wish(batches, batch_id)
  if not batches then return batch_id .. '=1' end
  local first = find_batch(batches, batch_id)
  if not first then return batches .. ',' .. batch_id .. '=1' end
  local wishes = string.match(batches, '^%d+', first)
  return string.sub(batches, 1, first - 1) .. whole(wishes + 1)
    .. string.sub(batches, first + #wishes)
end

-- The last batches, by when they began.
local function list_batch(batch_id)
  if not options.recent_max then return end
  redis.call('ZADD', BATCHES, whole(now), batch_id)
  redis.call('ZREMRANGEBYRANK', BATCHES, 0, -options.recent_max - 1)
  redis.call('EXPIRE', BATCHES, options.result_ttl_s)
end

at_commit(function()
  for batch_id, batch in pairs(changes) do
    local key = BATCH .. batch_id
    for field, by in pairs(batch) do
      redis.call('HINCRBY', key, field, by)
    end
    if redis.call('HSETNX', key, 'submitted_at', whole(now)) == 1 then list_batch(batch_id) end
    if tonumber(redis.call('HGET', key, 'pending') or '0') == 0 then
      redis.call('HSET', key, 'finished_at', whole(now))
    else
      redis.call('HDEL', key, 'finished_at')
    end
    redis.call('EXPIRE', key, options.result_ttl_s)
  end
end)
