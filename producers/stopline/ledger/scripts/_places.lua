-- requires: text clock commit
-- The places of a batch: which request each item of it became, so that sending it again finds them.
local PLACES_A_CHUNK = 100
local chunks, kept_until = {}, {}

-- Where a batch keeps which request an item of it became: key and field.
local function place_of(item)
  if not item.place_key then
    item.chunk = item.place and whole(math.floor(item.place / PLACES_A_CHUNK)) or 'loose'
    item.place_key = BATCH .. item.batch_id .. ':' .. item.chunk
    item.place_field = item.place and whole(item.place) or item.id
  end
  return item.place_key, item.place_field
end

local function touch_chunk(key, item)
  chunks[key] = item
  kept_until[key] = math.max(kept_until[key] or 0, item.not_after)
end

-- An outcome may come as late as `not_after`, and is to be found by its place as long as it is kept.
local function keep(key, seconds)
  if redis.call('EXPIRE', key, seconds, 'NX') == 0 then redis.call('EXPIRE', key, seconds, 'GT') end
end

at_commit(function()
  for key, item in pairs(chunks) do
    local index = BATCH .. item.batch_id .. ':chunks'
    local seconds = options.result_ttl_s
      + math.max(0, math.ceil((kept_until[key] - now) / 1000000))
    keep(key, whole(seconds))
    redis.call('SADD', index, item.chunk)
    keep(index, whole(seconds))
  end
end)
