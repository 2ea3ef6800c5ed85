-- Batch counters change many times in one script; they are gathered and written once at its end.
local changes = {}

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

local function add_wish(batches, batch_id)
  local parts, found = {}, false
  each_batch(batches, function(id, wishes)
    if id == batch_id then
      wishes = wishes + 1
      found = true
    end
    parts[#parts + 1] = id .. '=' .. wishes
  end)
  if not found then parts[#parts + 1] = batch_id .. '=1' end
  return table.concat(parts, ',')
end

local function write_batches()
  for batch_id, batch in pairs(changes) do
    local key = BATCH .. batch_id
    for field, by in pairs(batch) do
      redis.call('HINCRBY', key, field, by)
    end
    redis.call('HSETNX', key, 'submitted_at', whole(now))
    if tonumber(redis.call('HGET', key, 'pending') or '0') == 0 then
      redis.call('HSET', key, 'finished_at', whole(now))
    else
      redis.call('HDEL', key, 'finished_at')
    end
    redis.call('EXPIRE', key, options.result_ttl_s)
  end
end
