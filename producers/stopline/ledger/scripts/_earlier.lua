-- requires: record outcome places
-- The request that an item repeats: by its id, its place in its batch, or its idempotency key.

-- The request behind an id that is known: its id and its target. Else, thirdly, whether Celery's
-- `revoke` has ended its message.
local function find_by_id(id)
  if redis.call('EXISTS', RECORD .. id, RESULT .. id) == 0 then return nil end
  local request = load_record(id)
  if request and request.state == 'alias' then request = load_record(request.target) end
  if request then return request.id, request.target end
  local outcome, raw = read_outcome(id)
  if outcome then return outcome.request_id, target_of(outcome) end
  return nil, nil, raw and cjson.decode(raw).status == 'REVOKED'
end

-- A key or a place may be remembered for longer than the outcome of its request. Then nobody could
-- follow that id any more, so it counts for nothing.
local function can_be_followed(id)
  return redis.call('EXISTS', RECORD .. id, RESULT .. id) > 0
end

-- The request that this item repeats: its id, whether the target is the same, and how it is
-- known (place, key, id); or nothing, and 'revoked'. An id of another target comes first: its record must not be touched.
local function find_earlier(item)
  local known_id, known_target, is_revoked = find_by_id(item.id)
  if is_revoked and item.alias then return nil, nil, 'revoked' end
  if known_id and known_target ~= item.target then return known_id, false, 'id' end
  if item.batch_id then
    local known = redis.call('HGET', place_of(item))
    if known then
      local id, of = string.match(known, '^(%S+) (%S+)$')
      if can_be_followed(id) then
        return id, of == string.sub(item.target_digest, 1, 6), 'place'
      end
    end
  end
  if item.idempotency_key then
    local known = redis.call('GET', IDEMPOTENCY .. item.idempotency_key)
    if known then
      local id, of = string.match(known, '^([^\n]*)\n(.*)$')
      if can_be_followed(id) then return id, of == item.target, 'key' end
    end
  end
  if known_id then return known_id, true, 'id' end
end

-- So that the same item is known when it comes again.
local function remember(item, id)
  if item.idempotency_key then
    redis.call('SET', IDEMPOTENCY .. item.idempotency_key, id .. '\n' .. item.target,
      'EX', options.idempotency_ttl_s)
  end
  if item.batch_id then
    local key, field = place_of(item)
    redis.call('HSET', key, field, id .. ' ' .. string.sub(item.target_digest, 1, 6))
    touch_chunk(key, item)
  end
end
