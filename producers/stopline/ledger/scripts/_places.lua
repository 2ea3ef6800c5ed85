-- requires: text commit
-- The places of a batch: which request each item of it became, so that sending it again finds them.
local PLACES_A_CHUNK = 100
local chunks = {}

-- Where a batch keeps which request an item of it became: key and field.
local function place_of(item)
  if not item.place_key then
    item.chunk = item.place and whole(math.floor(item.place / PLACES_A_CHUNK)) or 'loose'
    item.place_key = BATCH .. item.batch_id .. ':' .. item.chunk
    item.place_field = item.place and whole(item.place) or item.id
  end
  return item.place_key, item.place_field
end

at_commit(function()
  for key, item in pairs(chunks) do
    local index = BATCH .. item.batch_id .. ':chunks'
    redis.call('EXPIRE', key, options.result_ttl_s)
    redis.call('SADD', index, item.chunk)
    redis.call('EXPIRE', index, options.result_ttl_s)
  end
end)
