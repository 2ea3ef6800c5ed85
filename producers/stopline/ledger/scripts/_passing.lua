-- requires: text clock gate probing
-- Who goes through the gate: how many calls a lane may make now, and what each takes of it.
--
-- CALLING  sorted set: calls under way by the ends of their leases; only where `concurrent` limits them
local UNLIMITED = 1000000
-- Whoever waits for a place or a turn is looked at so often, with others.
local SOON_US = 25000
local under_way

-- How many calls a lane may make now, and when it is worth asking again.
local function rate_room(lane)
  local burst = options.rate_burst - (lane == 'emergency' and 0 or options.rate_reserve)
  local due = math.max(gate.rate_due or 0, now)
  local room = math.floor((now + burst * options.rate_us - due) / options.rate_us)
  -- Not for each single one: but before what is unused would be lost.
  local wait = math.max(options.rate_us, math.min(SOON_US, burst * options.rate_us / 2))
  return math.max(0, room), math.floor(math.max(due - burst * options.rate_us, now) + wait)
end

local function concurrent_room(lane)
  if not under_way then
    redis.call('ZREMRANGEBYSCORE', CALLING, '-inf', whole(now))
    under_way = redis.call('ZCARD', CALLING)
  end
  local limit = math.floor((options.adaptive and gate.room or options.concurrent * 1000) / 1000)
  local reserve = lane == 'emergency' and 0 or math.min(options.concurrent_reserve, limit - 1)
  return math.max(0, limit - reserve - under_way), now + SOON_US
end

local function room_at_gate(lane)
  local closed_until = math.max(paused_until(lane), gate.hold_until or 0)
  if closed_until > now then return 0, closed_until end
  local room, again_at = UNLIMITED, now
  if gate.cause then
    if gate.probe and gate.probe_ends > now then return 0, gate.probe_ends end
    if gate.probe_at > now then return 0, gate.probe_at end
    room, again_at = 1, now + probe_us()
  end
  if options.rate_us then
    local turns, at = rate_room(lane)
    if turns < room then room, again_at = turns, at end
  end
  if options.concurrent then
    local places, at = concurrent_room(lane)
    if places < room then room, again_at = places, at end
  end
  return room, again_at
end

-- Retries, in thousandths: a fifth of a first call each, ten a second, and what twenty seconds of that make
-- at most (https://finagle.github.io/blog/2016/02/08/retry-budgets/).
local RETRY, OF_FIRST, A_SECOND, RETRIES_MAX = 1000, 200, 10000, 200000

local function retries_left()
  local since = gate.retries_at and now - gate.retries_at or 0
  return math.min(RETRIES_MAX, (gate.retries or RETRIES_MAX) + math.floor(since * A_SECOND / 1000000))
end

-- Whether a request that was called for before may be again.
local function has_retry(request)
  return not options.retry_budget or not request.attempt or retries_left() >= RETRY
end

-- A call is granted: it takes what it needs of the gate.
local function go_through(request)
  if gate.cause then
    gate.probe, gate.probe_ends, gate_changed = request.token, request.due_at, true
  end
  if options.retry_budget then
    local by = request.attempt > 1 and -RETRY or OF_FIRST
    gate.retries, gate.retries_at = math.min(RETRIES_MAX, retries_left() + by), now
    gate_changed = true
  end
  if options.rate_us then
    gate.rate_due = math.max(gate.rate_due or 0, now) + options.rate_us
    gate_changed = true
  end
  if options.concurrent then
    redis.call('ZADD', CALLING, whole(request.due_at), request.id)
    redis.call('EXPIRE', CALLING, options.result_ttl_s)
    under_way = (under_way or 0) + 1
  end
end

-- Those that wait end in time, too, when their turn does not come: some of them are looked at.
local LOOK_US, LOOKED_AT_MAX = 1000000, 500

local function looked_in(lane)
  local at, rank = string.match(',' .. (gate.looked or ''), ',' .. lane .. '=(%d+):(%d+)')
  return tonumber(at) or 0, tonumber(rank) or 0
end

local function note_look(lane, rank)
  local rest = string.gsub(',' .. (gate.looked or ''), ',' .. lane .. '=%d+:%d+', '')
  gate.looked, gate_changed = lane .. '=' .. whole(now) .. ':' .. rank .. rest, true
end

-- Some ids of a lane that waits, and the next time the following ones.
local function looks_through(lane)
  local at, from = looked_in(lane)
  if now - at < LOOK_US then return {} end
  local ids = redis.call('ZRANGEBYSCORE', DUE .. lane, '-inf', whole(now), 'LIMIT', from, LOOKED_AT_MAX)
  note_look(lane, #ids == LOOKED_AT_MAX and from + LOOKED_AT_MAX or 0)
  return ids
end

-- Whether others of its lane are due: where not all get through, a request that is named now stands
-- behind them.
local function has_others_before(request)
  if not (gate.cause or options.rate_us or options.concurrent) then return false end
  local first = redis.call('ZRANGEBYSCORE', DUE .. request.lane, '-inf', whole(now), 'LIMIT', 0, 1)[1]
  return first ~= nil and first ~= request.id
end
