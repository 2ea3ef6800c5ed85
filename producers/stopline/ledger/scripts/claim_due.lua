-- requires: text clock record commit finish grant gate passing turns
-- flags: allow-oom
-- Claims what is due in some lanes, the most urgent lane and the longest due first.
--
-- KEYS    none: they follow from the lanes (the ledger lives on one node)
-- ARGV    1 options (JSON): adaptive, attempts_max, audit_max, claims_lost_max, concurrent,
--           concurrent_reserve, counts, dead_letter_ttl_s, deadline_us, lease_us, limit, look_again_us,
--           outcomes_max, probe_us, rate_burst, rate_reserve, rate_us, recent_max, result_ttl_s,
--           retry_budget, suspect_room, suspect_wait_us, token, traces, upstream_failures_max
--           limit: of requests to look at; token: `engine:number`, and a sweep with the token of the
--           engine's last one repeats that
--         2… lanes, the most urgent first
-- returns now, grants (id, target, attempt, not_after, lease's end, claims lost, token, and with
--         `traces` the contexts of its traces; flat),
--         promoted (id, lane; flat), why the gate is shut, or '', when it is worth asking again, or
--         '' for when something comes in
local last_sweep = SWEEP .. string.match(options.token, '^[^:]+')

-- What the sweep with this token granted, if its reply was lost; else nothing.
local function granted_before()
  local token, ids = string.match(redis.call('GET', last_sweep) or '', '^([^\n]*)\n(.*)$')
  return token == options.token and ids or ''
end

-- Each once: what is due may wait for its turn as well, or twice, and a second look would grant it again.
local looked_at = {}
local function look_at(key, id)
  if looked_at[id] then return end
  looked_at[id] = true
  local request = load_record(id)
  if request and request.state ~= 'alias' then
    consider(request)
  else
    redis.call('ZREM', key, id)
  end
end

-- The ids that are due in a lane, as many as there is room for.
local function due_in(key, room)
  if room <= 0 then return {} end
  return redis.call('ZRANGEBYSCORE', key, '-inf', whole(now), 'LIMIT', 0, room)
end

local room = options.limit
-- What is due and what waits for its turn share a lane's room: one place alone is now of these, now of
-- those.
local function half_of(places)
  return places == 1 and now % 2 or math.ceil(places / 2)
end

-- Pieces of what waits for its turn, as far as there is room; whether more waits. Of what has ended
-- meanwhile so many are looked at.
local LOOKS_MAX = 1000
local function take_turns(lane)
  local looks = 0
  while has_turns(lane) do
    local most = math.min(room, room_at_gate(lane))
    if most <= 0 or looks >= LOOKS_MAX then return true end
    local piece, looked = next_piece(lane, most)
    looks = looks + looked + #piece
    for _, id in ipairs(piece) do
      local before = #grants
      look_at(DUE .. lane, id)
      if #grants > before then room = room - 1 end
    end
  end
  return false
end

for id in string.gmatch(granted_before(), '[^\n]+') do
  local request = load_record(id)
  if request and call_in_flight(request) and request.token == lease_token(request) then
    take_suspect_room(request)
    looked_at[id] = true
    add_grant(request)
    room = room - 1
  end
end
local next_due
local lanes_shut = {}
for index = 2, #ARGV do
  local lane = ARGV[index]
  local key = DUE .. lane
  -- Those that end take no room of the gate's.
  local share = has_turns(lane) and half_of(math.min(room, (room_at_gate(lane)))) or room
  for _, id in ipairs(room_at_gate(lane) > 0 and due_in(key, share) or {}) do
    if room_at_gate(lane) == 0 then break end
    look_at(key, id)
    room = room - 1
  end
  local more_wait = take_turns(lane)
  local first = tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] or nil)
  if more_wait then first = math.min(first or now, now) end
  local left, again_at = room_at_gate(lane)
  if left == 0 and first then
    first = math.max(first, again_at)
    lanes_shut[#lanes_shut + 1] = lane
  end
  if first and (not next_due or first < next_due) then next_due = first end
end
for _, lane in ipairs(lanes_shut) do
  for _, id in ipairs(looks_through(lane)) do
    local request = load_record(id)
    if request then consider(request) end
  end
end
if #grants > 0 then
  local ids = {options.token}
  for index = 1, #grants, GRANT_FIELDS do ids[#ids + 1] = grants[index] end
  redis.call('SET', last_sweep, table.concat(ids, '\n'), 'PX', math.ceil(options.lease_us / 1000))
end
commit()
return {whole(now), grants, promoted, gate.cause or '', next_due and whole(next_due) or ''}
