-- requires: text clock commit
-- Guards: what keeps back new requests of a source that goes wild. Their rules come in one text, and
-- each has a state of its own. Without guards nothing of this costs anything: the text is read with
-- the clock.
--
-- GUARDS  string, JSON: the guards as `contract.Guard` has them, by `source`
-- GUARD   … source, hash: `tripped_at`, `trip` (limit, canary, halt); `came_at`: the last new request;
--         `canary`: when its run began, `went`, `done`, `failed`: requests of it; `well`: the last run that
--         ended well; `outcomes`: the last ones, f for one that failed, a dot else
-- PASSED  … source, list: when the last new requests went, the newest first
-- HELD    … source, sorted set: requests that are held, by when they were accepted
local FAILED = {rejected = true, not_found = true, exhausted = true, expired = true, quarantined = true}
local QUIET_S = 60

local guards, guard_states, of_sources

local function all_guards()
  if not guards then
    guards, guard_states, of_sources = {}, {}, {}
    for _, guard in ipairs(cjson.decode(guards_text)) do guards[guard.source] = guard end
  end
  return guards
end

local function given(value)
  return value ~= cjson.null and value or nil
end

-- The guard of a source: its own, or that of its longest beginning.
local function guard_of(source)
  if not guards_text then return nil end
  local all = all_guards()
  if of_sources[source] == nil then
    local found = all[source]
    for length = #source, 0, -1 do
      found = found or all[string.sub(source, 1, length) .. '*']
    end
    of_sources[source] = found or false
  end
  return of_sources[source] or nil
end

local function guard_state(name)
  local state = guard_states[name]
  if not state then
    state = {}
    local fields = redis.call('HGETALL', GUARD .. name)
    for index = 1, #fields, 2 do
      state[fields[index]] = tonumber(fields[index + 1]) or fields[index + 1]
    end
    guard_states[name] = state
  end
  return state
end

local function trip(name, why)
  local state = guard_state(name)
  state.tripped_at, state.trip, state.canary = now, why, nil
  redis.call('XADD', AUDIT, 'MAXLEN', '~', options.audit_max or 100000, '*', 'entry',
    '{"action":"guard_trip","actor":"stopline","source":' .. cjson.encode(name) .. ',"reason":"' .. why .. '"}')
  if options.counts then redis.call('HINCRBY', COUNTS, 'guard_trips', 1) end
end

local function is_tripped(guard)
  local state = guard_state(guard.source)
  if not state.tripped_at then return false end
  local lasts = given(guard.auto_reset_s)
  if not lasts or now < state.tripped_at + lasts * 1000000 then return true end
  state.tripped_at, state.trip, state.outcomes, state.canary = nil, nil, nil, nil
  return false
end

local function window_us(guard)
  local limit = given(guard.limit)
  return math.floor((limit and limit.window_s or QUIET_S) * 1000000)
end

-- Whether the window has room for one more new request.
local function limit_has_room(guard)
  local limit = given(guard.limit)
  if not limit then return true end
  local oldest = redis.call('LINDEX', PASSED .. guard.source, limit.requests - 1)
  return not oldest or tonumber(oldest) <= now - window_us(guard)
end

local function note_passing(guard)
  local limit = given(guard.limit)
  if not limit then return end
  local key = PASSED .. guard.source
  redis.call('LPUSH', key, whole(now))
  redis.call('LTRIM', key, 0, limit.requests - 1)
  redis.call('PEXPIRE', key, math.ceil(window_us(guard) / 1000) + 1000)
end

-- After a quiet time the first ones go alone. Whether this one may: it is one of them, or they did well.
local function passes_canary(guard)
  local canary, state = given(guard.canary), guard_state(guard.source)
  local is_quiet = now - (state.came_at or 0) > window_us(guard)
  state.came_at = now
  if not canary then return true end
  if is_quiet and not (state.canary and state.done < canary.first) then
    state.canary, state.went, state.done, state.failed = now, 0, 0, 0
  end
  if not state.canary or state.done >= canary.first then return true end
  if state.went >= canary.first then return false end
  state.went = state.went + 1
  return true
end

-- Why a new request of this guard's is kept back: tripped, canary; nil: it goes.
local function keeps_back(guard)
  if is_tripped(guard) then return 'tripped' end
  if not limit_has_room(guard) then
    trip(guard.source, 'limit')
    return 'tripped'
  end
  if not passes_canary(guard) then return 'canary' end
  note_passing(guard)
end

-- The run of the canary that is under way, which a request that comes now is one of, or waits for.
local function canary_run(guard)
  local canary, state = given(guard.canary), guard_state(guard.source)
  return canary and state.canary and state.done < canary.first and state.canary or nil
end

-- Whether one that waited for a run of the canary may go by now, as far as the limit has room. Where the
-- run did not end well, it waits for a person: 'never'.
local function lets_go(request)
  local guard = guards_text and all_guards()[request.guard]
  if not guard or guard.dry_run or is_tripped(guard) then return 'never' end
  local state = guard_state(guard.source)
  if request.canary > (state.well or 0) then
    return canary_run(guard) == request.canary and 'later' or 'never'
  end
  if not limit_has_room(guard) then return 'later' end
  note_passing(guard)
  return 'now'
end

local function learn_of_canary(guard, state, request, has_failed)
  local canary = given(guard.canary)
  if not canary or not request.canary or request.canary ~= state.canary then return end
  state.done = state.done + 1
  if has_failed then state.failed = state.failed + 1 end
  if state.failed > canary.failed_max then return trip(guard.source, 'canary') end
  if state.done >= canary.first then state.well = state.canary end
end

local function learn_for_halt(guard, state, has_failed)
  local halt = given(guard.halt)
  if not halt then return end
  state.outcomes = string.sub((state.outcomes or '') .. (has_failed and 'f' or '.'), -halt.of_last)
  local _, failed = string.gsub(state.outcomes, 'f', '')
  if #state.outcomes == halt.of_last and failed >= halt.failed_share * halt.of_last then
    trip(guard.source, 'halt')
  end
end

-- How a request ended that a guard let go. Whether its canary has ended well by that.
local function tell_guard(request, outcome)
  local guard = guards_text and all_guards()[request.guard]
  if not guard or is_tripped(guard) then return false end
  local state, has_failed = guard_state(guard.source), FAILED[outcome] or false
  local well_before = state.well
  learn_of_canary(guard, state, request, has_failed)
  if not state.tripped_at then learn_for_halt(guard, state, has_failed) end
  return state.well ~= well_before and not state.tripped_at
end

-- When one that waits for a canary is looked at again: however many there are, some forty a second are. For
-- those that a canary lets go nobody waits for that (`wake_held`).
local LOOKS_TOGETHER = 200

local function look_at_held_again(name)
  local turns = 1 + math.floor(redis.call('ZCARD', HELD .. name) / LOOKS_TOGETHER)
  return now + options.look_again_us * turns
end

local function leave_hold(request)
  redis.call('ZREM', HELD .. request.guard, request.id)
end

at_commit(function()
  for name, state in pairs(guard_states or {}) do
    local key, fields = GUARD .. name, {}
    for field, value in pairs(state) do
      fields[#fields + 1] = field
      fields[#fields + 1] = type(value) == 'number' and whole(value) or value
    end
    redis.call('DEL', key)
    if #fields > 0 then redis.call('HSET', key, unpack(fields)) end
  end
end)
