-- requires: text clock record target batch finish replies outcome earlier aliases guards lanes backlog pausing
-- The rules of causal dedup: taking one request into the ledger, or finding the one that already
-- serves its wish (docs/semantics.md).
local JOINED_MAX = 20
-- What a request ahead of this one is reckoned to take: 5,000 a second.
local TURN_US = 200

local function count_wish(item, kind)
  if item.batch_id then
    count(item.batch_id, 'total', 1)
    count(item.batch_id, 'pending', 1)
    count(item.batch_id, 'receipt:' .. kind, 1)
  end
end

-- Whoever joins what waits for the turn of a batch does not wait for that.
local function waits_for_turn(request)
  return request.state == 'queued' and is_of_batch(request)
end

local function join(item, request, kind)
  request.not_after = math.max(request.not_after, item.not_after)
  request.wish_at = math.max(request.wish_at, item.issued_at)
  request.joined_count = (request.joined_count or 0) + 1
  if request.joined_count <= JOINED_MAX then
    local trace = string.match(item.more, ',"traceparent":"[^"]*"') or ''
    local callback = string.match(item.more, ',"callback_url":"[^"]*"') or ''
    local entry = '{' .. item.wish .. trace .. callback .. ',"at":"' .. rfc3339(now) .. '"}'
    request.joined = request.joined and request.joined .. ',' .. entry or entry
  end
  if item.batch_id then
    request.batches = add_wish(request.batches, item.batch_id)
  else
    request.joined_alone = 1
  end
  local dispatch = promote_lane(request, item.lane) or waits_for_turn(request)
  add_alias(item, request)
  save_record(request)
  remember(item, request.id)
  count_wish(item, kind)
  reply(kind, request.id, request.lane, dispatch)
end

local function new_request(item)
  return {
    id = item.id, state = 'queued', lane = item.lane,
    target = item.target, target_digest = item.target_digest,
    issued_at = item.issued_at, wish_at = item.issued_at, accepted_at = now,
    not_after = item.not_after, body = item.wish .. item.more,
    batches = item.batch_id and item.batch_id .. '=1', guard = item.guard, canary = item.canary,
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
    if known_by ~= 'place' and not item.batch_id then request.joined_alone = 1 end
    add_alias(item, request)
    save_record(request)
  elseif outcome and item.alias and item.id ~= id then
    write_result(item.id, string.sub(raw, #result_prefix(outcome.request_id) + 1),
      math.max(1, redis.call('TTL', RESULT .. id)))
  end
  -- Its sender may have died between accepting it and sending its message.
  local dispatch = request and request.state == 'queued'
    and (known_by ~= 'key' or waits_for_turn(request))
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

local function note_holding(guard)
  redis.call('SADD', HOLDING, guard.source)
  redis.call('EXPIRE', HOLDING, options.result_ttl_s)
end

-- What is held for a target serves every wish that is kept back, whichever guard does so.
local function hold(item, target, guard, why)
  local held = target.held and load_record(target.held)
  if held then
    if item.alias and aliases_are_full(held) then return refuse('aliases') end
    if item.batch_id and batches_are_full(held.batches, item.batch_id) then return refuse('batches') end
    note_holding({source = held.guard})
    local longer = held.held_for == 'tripped' and item.not_after > held.not_after
    if longer then set_due(held, item.not_after) end
    return join(item, held, 'held')
  end
  local request = new_request(item)
  request.state, request.guard, request.held_for = 'held', guard.source, why
  if why == 'canary' then request.canary = canary_run(guard) end
  target.held = item.id
  save_target(target)
  redis.call('ZADD', HELD .. guard.source, whole(now), item.id)
  note_holding(guard)
  local look_at = why == 'canary' and look_at_held_again(guard.source) or item.not_after
  set_due(request, math.min(look_at, item.not_after))
  save_record(request)
  remember(item, item.id)
  count_wish(item, 'held')
  reply('held', item.id, item.lane, false)
end

local function guard_of_item(item)
  return guards_text and guard_of(cjson.decode('{' .. item.wish .. '}').source)
end

-- Whether the guard of its source keeps a new request back; one that goes is marked where the guard
-- wants to know how it ends.
local function keep_back(item, target, guard)
  if not guard then return false end
  local why = keeps_back(guard)
  if why then
    hold(item, target, guard, why)
    return true
  end
  item.canary = canary_run(guard)
  if item.canary or given(guard.halt) then item.guard = guard.source end
  return false
end

-- The rules of causal dedup, in their order (docs/semantics.md).
local function accept(item)
  local id, same_target, known_by = find_earlier(item)
  if known_by == 'revoked' then return refuse('revoked') end
  if id and not same_target then return refuse('conflict', known_by) end
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
  local guard = guard_of_item(item)
  if guard and guard.dry_run then return finish_at_once(item, 'accepted', 'dry_run', DRY_RUN) end
  local active = target.active and load_record(target.active)
  if not active then
    if keep_back(item, target, guard) then return end
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
  if not host and keep_back(item, target, guard) then return end
  if host ~= active and promote_lane(active, item.lane) ~= nil then save_record(active) end
  if host then return join(item, host, 'joined') end
  target.next = item.id
  save_target(target)
  local at = math.max(now + options.look_again_us, active.due_at)
  create(item, math.min(at, item.not_after), false)
end

-- Takes it in, and lines it up where workers are not told at once.
local function take_in(item)
  accept(item)
  line_up_item(item)
end
