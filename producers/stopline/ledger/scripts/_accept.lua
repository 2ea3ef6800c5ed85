-- What accept and redrive share: taking one request into the ledger, or finding the request that
-- already serves its wish.
local JOINED_MAX = 20
local ALIASES_MAX = 1000
local PLACES_A_CHUNK = 100
-- What a request ahead of this one is reckoned to take: 5,000 a second.
local TURN_US = 200
-- One request is one argument, a field a line: '' where there is none. `wish` is who asks and why,
-- `more` the other members of the body, each after a comma. The idempotency key comes last, because
-- it alone may hold a line break.
local ITEM_FIELDS = '^' .. string.rep('([^\n]*)\n', 11) .. '(.*)$'
local URGENCY = {emergency = 1, default = 2, bulk = 3}
local replies = {}
local chunks = {}

local function read_item(raw)
  local id, target, target_digest, lane, issued_at, not_after, wish, more, batch_id, place, alias,
    idempotency_key = string.match(raw, ITEM_FIELDS)
  return {
    id = id, target = target, target_digest = target_digest, lane = lane,
    issued_at = issued_at == '' and now or math.min(by_ledger(tonumber(issued_at)), now),
    not_after = not_after == '' and now + options.deadline_us or by_ledger(tonumber(not_after)),
    wish = wish, more = more, idempotency_key = present(idempotency_key),
    batch_id = present(batch_id), place = tonumber(place), alias = present(alias),
  }
end

local function reply(kind, id, lane, dispatch)
  local last = #replies
  replies[last + 1], replies[last + 2] = kind, id
  replies[last + 3], replies[last + 4] = lane, dispatch and '1' or ''
end

local function refuse(why)
  reply('refused', why, '', false)
end

-- Where a batch keeps which request an item of it became: key and field.
local function place_of(item)
  if not item.place_key then
    item.chunk = item.place and whole(math.floor(item.place / PLACES_A_CHUNK)) or 'loose'
    item.place_key = BATCH .. item.batch_id .. ':' .. item.chunk
    item.place_field = item.place and whole(item.place) or item.id
  end
  return item.place_key, item.place_field
end

-- The outcome of an ended request, or nil. A failure that Celery wrote is none of ours.
local function read_outcome(id)
  local raw = redis.call('GET', RESULT .. id)
  local outcome = raw and cjson.decode(raw).result
  return type(outcome) == 'table' and outcome.outcome and outcome or nil, raw
end

local function target_of(outcome)
  local target = outcome.user_id .. '/' .. outcome.task_id
  return outcome.sub_user_id and target .. '/' .. outcome.sub_user_id or target
end

-- The request behind an id that is known: its id and its target.
local function find_by_id(id)
  if redis.call('EXISTS', RECORD .. id, RESULT .. id) == 0 then return nil end
  local request = load_record(id)
  if request and request.state == 'alias' then request = load_record(request.target) end
  if request then return request.id, request.target end
  local outcome = read_outcome(id)
  if outcome then return outcome.request_id, target_of(outcome) end
end

-- A key or a place may be remembered for longer than the outcome of its request. Then nobody could
-- follow that id any more, so it counts for nothing.
local function can_be_followed(id)
  return redis.call('EXISTS', RECORD .. id, RESULT .. id) > 0
end

-- The request that this item repeats: its id, whether the target is the same, and how it is
-- known (place, key, id). An id of another target comes first: its record must not be touched.
local function find_earlier(item)
  local known_id, known_target = find_by_id(item.id)
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
    chunks[key] = item
  end
end

local function count_wish(item, kind)
  if item.batch_id then
    count(item.batch_id, 'total', 1)
    count(item.batch_id, 'pending', 1)
    count(item.batch_id, 'receipt:' .. kind, 1)
  end
end

local function aliases_are_full(request)
  local _, aliases = string.gsub(request.aliases or '', '[^,]+', '')
  return aliases >= ALIASES_MAX
end

-- A sender that knows only its own Celery id gets the outcome under that id too.
local function add_alias(item, request)
  if not item.alias or item.id == request.id then return end
  if string.find(',' .. (request.aliases or '') .. ',', ',' .. item.id .. ',', 1, true) then
    return
  end
  request.aliases = request.aliases and request.aliases .. ',' .. item.id or item.id
  redis.call('SET', RECORD .. item.id, 'alias\n' .. request.id)
end

-- A more urgent wish takes the request to its lane. Whether it is to be dispatched there; nil if
-- it stays where it is.
local function promote_lane(request, lane)
  if URGENCY[lane] >= URGENCY[request.lane] then return nil end
  redis.call('ZREM', DUE .. request.lane, request.id)
  request.lane = lane
  set_due(request, request.due_at)
  return request.state == 'queued'
end

local function join(item, request)
  request.not_after = math.max(request.not_after, item.not_after)
  request.wish_at = math.max(request.wish_at, item.issued_at)
  request.joined_count = (request.joined_count or 0) + 1
  if request.joined_count <= JOINED_MAX then
    local entry = '{' .. item.wish .. ',"at":"' .. rfc3339(now) .. '"}'
    request.joined = request.joined and request.joined .. ',' .. entry or entry
  end
  if item.batch_id then request.batches = add_wish(request.batches, item.batch_id) end
  local dispatch = promote_lane(request, item.lane)
  add_alias(item, request)
  save_record(request)
  remember(item, request.id)
  count_wish(item, 'joined')
  reply('joined', request.id, request.lane, dispatch)
end

local function new_request(item)
  return {
    id = item.id, state = 'queued', lane = item.lane,
    target = item.target, target_digest = item.target_digest,
    issued_at = item.issued_at, wish_at = item.issued_at, accepted_at = now,
    not_after = item.not_after, body = item.wish .. item.more,
    batches = item.batch_id and item.batch_id .. '=1',
  }
end

-- When somebody must look whether the message got lost: once those that are open in the lane had
-- their turn, but before a quarter of the request's time is over. Sooner, sweeps would claim what
-- messages still name, and each would cost two claims.
local ahead = {}
local function look_again_at(item)
  local before = ahead[item.lane] or redis.call('ZCARD', DUE .. item.lane)
  ahead[item.lane] = before + 1
  local turns = math.min(before * TURN_US, math.floor((item.not_after - now) / 4))
  return math.min(now + options.look_again_us + turns, item.not_after)
end

local function create(item, due_at, dispatch)
  local request = new_request(item)
  set_due(request, due_at)
  save_record(request)
  remember(item, item.id)
  count_wish(item, 'accepted')
  reply('accepted', item.id, item.lane, dispatch)
end

local function finish_at_once(item, kind, outcome, detail, satisfied_by)
  remember(item, item.id)
  count_wish(item, kind)
  finish(new_request(item), outcome, detail, satisfied_by)
  reply(kind, item.id, item.lane, false)
end

-- The batch of a repeated item counts the original's outcome too.
local function count_repeated(item, request, outcome)
  count(item.batch_id, 'total', 1)
  count(item.batch_id, 'receipt:duplicate', 1)
  if request then
    request.batches = add_wish(request.batches, item.batch_id)
    count(item.batch_id, 'pending', 1)
  elseif outcome then
    count(item.batch_id, 'outcome:' .. outcome.outcome, 1)
  end
end

local function repeat_earlier(item, id, known_by)
  local request = load_record(id)
  local outcome, raw
  if not request then outcome, raw = read_outcome(id) end
  if item.alias and request and item.id ~= id and aliases_are_full(request) then
    return refuse('aliases')
  end
  if known_by ~= 'place' and item.batch_id and request
    and batches_are_full(request.batches, item.batch_id) then
    return refuse('batches')
  end
  if known_by ~= 'place' and item.batch_id then
    count_repeated(item, request, outcome)
    remember(item, id)
  end
  if request then
    add_alias(item, request)
    save_record(request)
  elseif outcome and item.alias and item.id ~= id then
    write_result(item.id, string.sub(raw, #result_prefix(outcome.request_id) + 1),
      math.max(1, redis.call('TTL', RESULT .. id)))
  end
  -- Its sender may have died between accepting it and sending its message.
  local dispatch = request and request.state == 'queued' and known_by ~= 'key'
  reply('duplicate', id, request and request.lane or outcome and outcome.lane or item.lane,
    dispatch)
end

-- Whether the active request can still fulfil the wish: a call in flight only if it began after
-- the wish was issued, none that was cancelled, and else only with all its attempts before it: a
-- fresh wish has attempts of its own, and as the next one it gets them. Nor one with too many losses.
local function serves(active, item)
  if active.cancelled then return false end
  if call_in_flight(active) then return active.began_at >= item.issued_at end
  local lost = (active.lost or 0) + (active.state == 'calling' and 1 or 0)
  if (active.answered or 0) > 0 then return false end
  if options.upstream_failures_max and (active.failed or 0) > 0 then return false end
  return lost < options.claims_lost_max
end

-- The rules of causal dedup, in their order (docs/semantics.md).
local function accept(item)
  local id, same_target, known_by = find_earlier(item)
  if id and not same_target then return refuse('conflict') end
  if id then return repeat_earlier(item, id, known_by) end
  if item.issued_at < now - options.result_ttl_s * 1000000 then return refuse('too_old') end
  if item.not_after <= now then
    if not options.expire_late then return refuse('not_after_passed') end
    return finish_at_once(item, 'accepted', 'expired',
      '"The time limit had passed when the request was accepted."')
  end
  if item.not_after > now + options.result_ttl_s * 1000000 then return refuse('too_far') end
  local target = load_target(item.target_digest)
  if target.resumed_at and target.resumed_at >= item.issued_at then
    return finish_at_once(item, 'superseded', 'superseded', SUPERSEDED)
  end
  if target.succeeded_at and target.succeeded_at >= item.issued_at then
    return finish_at_once(item, 'satisfied', 'stopped', SATISFIED, target.succeeded_by)
  end
  local active = target.active and load_record(target.active)
  if not active then
    target.active = item.id
    save_target(target)
    return create(item, look_again_at(item), true)
  end
  local following = target.next and load_record(target.next)
  local host = serves(active, item) and active or following
  if host and item.alias and aliases_are_full(host) then return refuse('aliases') end
  if host and item.batch_id and batches_are_full(host.batches, item.batch_id) then
    return refuse('batches')
  end
  if host ~= active and promote_lane(active, item.lane) ~= nil then save_record(active) end
  if host then return join(item, host) end
  target.next = item.id
  save_target(target)
  local at = math.max(now + options.look_again_us, active.due_at)
  create(item, math.min(at, item.not_after), false)
end

local function write_places()
  for key, item in pairs(chunks) do
    local index = BATCH .. item.batch_id .. ':chunks'
    redis.call('EXPIRE', key, options.result_ttl_s)
    redis.call('SADD', index, item.chunk)
    redis.call('EXPIRE', index, options.result_ttl_s)
  end
end
