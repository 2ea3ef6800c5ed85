-- requires: clock gate probing
-- What calls say of the API, and so of the gate.
-- So many refusals in a row shut it. What is forbidden (403) may be so for one user alone: of each user it
-- counts once.
local REFUSALS = 3
local ADAPT_US, LEAST_ROOM = 1000000, 1000

-- A call is over, or did not begin; its place is free.
local function leave_gate(id)
  if options.concurrent then redis.call('ZREM', CALLING, id) end
end

local function shut_gate(cause, said)
  gate.cause, gate.since, gate.said, gate.probe_at = cause, now, said, now + probe_us()
  gate.refused, gate.forbidden, gate.calls, gate.probe, gate.probe_ends = nil, nil, nil, nil, nil
end

local function open_gate()
  gate.cause, gate.since, gate.said, gate.probe_at = nil, nil, nil, nil
  gate.refused, gate.forbidden, gate.calls, gate.by_401 = nil, nil, nil, nil
end

local function adapt(word)
  local before = gate.room or options.concurrent * 1000
  if word == 'failed' or word == 'busy' then
    if now - (gate.cut_at or 0) < ADAPT_US then return end
    gate.room, gate.cut_at = math.max(LEAST_ROOM, math.floor(before * 0.7)), now
  else
    gate.room = math.min(options.concurrent * 1000, before + math.ceil(1000000 / before))
  end
  gate_changed = gate_changed or gate.room ~= before
end

local function is_new_refusal(word, user)
  if word == 'refused' then return true end
  local users = ',' .. (gate.forbidden or '') .. ','
  if string.find(users, ',' .. user .. ',', 1, true) then return false end
  gate.forbidden = gate.forbidden and gate.forbidden .. ',' .. user or user
  return true
end

local function learn_of_refusal(word, said, user)
  if word == 'refused' or word == 'forbidden' then
    if not is_new_refusal(word, user) then return end
    gate.refused, gate_changed = (gate.refused or 0) + 1, true
    if gate.refused < REFUSALS then return end
    shut_gate('credential', said)
    gate.by_401 = word == 'refused' and 1 or nil
  elseif gate.refused and word == 'ok' then
    gate.refused, gate.forbidden, gate_changed = nil, nil, true
  end
end

local function learn_of_failure(word, said)
  gate.calls = string.sub((gate.calls or '') .. (word == 'failed' and 'f' or '.'), -options.breaker_of)
  gate_changed = true
  local _, failed = string.gsub(gate.calls, 'f', '')
  if failed >= options.breaker_failed then shut_gate('breaker', said) end
end

local function learn_of_probe(word, said)
  gate.probe, gate.probe_ends, gate_changed = nil, nil, true
  -- A token that was unknown and is now merely not allowed something is accepted again.
  if word == 'ok' or word == 'forbidden' and gate.by_401 then
    open_gate()
  elseif word == 'none' then
    gate.probe_at = now
  else
    gate.probe_at, gate.said = now + probe_us(), said
  end
end

-- What a call says of the API: ok (it answered), failed (none, or 5xx), busy (429), refused (the token,
-- 401), forbidden (403), none (the call says nothing). Whether it was a probe.
local function learn_of_call(word, request, token, said, hold)
  local is_probe = gate.probe == token
  if hold and hold > 0 and options.hold_max_us then
    gate.hold_until = math.max(gate.hold_until or 0, now + math.min(hold, options.hold_max_us))
    gate_changed = true
  end
  if options.adaptive and word ~= 'none' then adapt(word) end
  if is_probe then
    learn_of_probe(word, said)
  elseif not gate.cause then -- what was under way when it was shut says nothing new
    local user = string.match(request.target, '^[^/]+')
    if options.credential_hold then learn_of_refusal(word, said, user) end
    if options.breaker_of and not gate.cause and (word == 'ok' or word == 'failed') then
      learn_of_failure(word, said)
    end
  end
  return is_probe
end
