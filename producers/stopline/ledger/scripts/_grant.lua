-- requires: text clock record target finish attempt tally passing release pausing
-- May an attempt begin: what claim and claim_due share.
local grants = {}
local GRANT_FIELDS = options.traces and 8 or 7

-- The contexts of the traces that a request belongs to: its own, and of those that joined it.
local function traces_of(request)
  local found = {}
  for one in string.gmatch(request.body .. (request.joined or ''), '"traceparent":"([^"]*)"') do
    found[#found + 1] = one
  end
  return table.concat(found, ' ')
end

local function add_grant(request)
  local last = #grants
  grants[last + 1], grants[last + 2] = request.id, request.target
  grants[last + 3], grants[last + 4] = whole(request.attempt), whole(request.not_after)
  grants[last + 5], grants[last + 6] = whole(request.due_at), whole(request.lost or 0)
  grants[last + 7] = request.token
  if options.traces then grants[last + 8] = traces_of(request) end
end

-- The token of a lease: of this claim and this attempt. A claim that arrives late, after its sender
-- repeated it, may be granted another attempt, which must not be settled by the first one's result.
local function lease_token(request)
  return options.token .. '.' .. whole(request.attempt or 0)
end

local function grant(request)
  request.state = 'calling'
  request.attempt = (request.attempt or 0) + 1
  request.began_at = now
  request.token = lease_token(request)
  set_due(request, now + options.lease_us)
  save_record(request)
  go_through(request)
  add_grant(request)
end

local function record_loss(request)
  add_attempt(request,
    '"error":"the worker was lost: its lease ended without a result","verdict":"RETRY"')
  if options.counts then tally('attempt', 'RETRY', 'lost', 1) end
  request.lost = (request.lost or 0) + 1
  request.state = 'queued'
  request.token = nil
end

-- A request whose worker was lost is a suspect: it may have killed it. The longer it is one, the
-- fewer others may fly with it in one engine, so that poison takes no neighbour along three times
-- (`suspect_room`: how many more that were lost once, and more often; absent: any number). Suspects
-- of one kind keep those of the other waiting.
local function take_suspect_room(request)
  local room, lost = options.suspect_room, request.lost or 0
  if lost == 0 or not room then return true end
  local level = math.min(lost, #room)
  if room[level] <= 0 then return false end
  local left = room[level] - 1
  for index = 1, #room do room[index] = 0 end
  room[level] = left
  return true
end

-- It keeps its place: since when it is due. What a message named is due from now on, since no other
-- message will name it.
local function wait_at_gate(request)
  set_due(request, math.min(request.due_at, now))
  save_record(request)
end

local function postpone(request)
  set_due(request, math.min(now + options.suspect_wait_us, request.not_after))
  save_record(request)
end

-- Only the active request of a target is called for. Where it is gone, the next takes its place.
local function is_active(request, target)
  if target.active ~= request.id and not (target.active and load_record(target.active)) then
    target.active = request.id
    if target.next == request.id then target.next = nil end
    save_target(target)
  end
  return target.active == request.id
end

-- A next request is looked at again when the active one is, or at its own deadline.
local function wait_for_active(request, target)
  local outcome, detail = ending(request, target)
  if outcome then return finish_on_target(request, target, outcome, detail) end
  local active = load_record(target.active)
  local at = math.max(now + options.look_again_us, active.due_at)
  set_due(request, math.min(at, request.not_after))
  save_record(request)
end

-- Grants an attempt for the request if one may begin now, ends the request if none may any more,
-- and else leaves it as it is. Asking again with the same token grants the same again, so that
-- a claim whose reply was lost can be repeated.
local function consider(request)
  if request.state == 'calling' and request.token == lease_token(request) then
    if call_in_flight(request) then add_grant(request) end
    return -- after its lease this claim comes late, and nobody waits for its grant
  end
  if call_in_flight(request) then return end
  if (request.state == 'waiting' or request.state == 'held') and request.due_at > now then return end
  if request.state == 'held' then return consider_held(request) end
  local target = load_target(request.target_digest)
  if not is_active(request, target) then return wait_for_active(request, target) end
  request.was = request.state
  if request.state == 'calling' then record_loss(request) end
  local outcome, detail = ending(request, target)
  if outcome then
    finish_on_target(request, target, outcome, detail)
  elseif is_paused(request) then
    park(request)
  elseif request.stands_behind or room_at_gate(request.lane) == 0 then
    if request.due_at > now or request.state ~= request.was then wait_at_gate(request) end
  elseif has_retry(request) and take_suspect_room(request) then
    grant(request)
  else
    postpone(request)
  end
end
