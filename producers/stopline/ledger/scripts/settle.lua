-- requires: text clock record target commit finish attempt tally gate probing signals
-- flags: allow-oom
-- Records finished attempts. Without a valid lease nothing changes.
--
-- KEYS    none: they follow from the records (the ledger lives on one node)
-- ARGV    1 options (JSON): adaptive, attempts_max, audit_max, breaker_failed, breaker_of, calls,
--           claims_lost_max, concurrent, counts, credential_hold, dead_letter_ttl_s, deadline_us,
--           hold_max_us, look_again_us, outcomes_max, probe_us, recent_max, result_ttl_s,
--           upstream_failures_max
--           calls: where they are counted: `kinds`, each a verdict, a class of status, a bucket; `of`: for
--           each attempt which of them, or 0; `us`: how long it took
--           of _gate.lua: adaptive, breaker_failed, breaker_of, concurrent, credential_hold, hold_max_us,
--           probe_us
--         2… for each attempt: request id, token, what follows, the attempt's JSON members,
--           argument; where what follows is
--             end      argument: outcome, a line break, the detail as a JSON string
--             answered     the reply spoke of this request: it counts for `attempts_max`
--             failed       the upstream's fault: it counts for `upstream_failures_max`
--             busy         it had too much to do: the same
--             refused      it refused the token: it counts for nothing
--             forbidden    it did so for this, perhaps: the same
--             interrupted  the worker's doing: it counts for nothing
--                          argument of these: microseconds until the next attempt, at the least, for which
--                          all are to wait, what the call said as a JSON string; with blanks between
--             release  the call did not begin: others may take the request at once
-- returns now, a word for each attempt (ended, waiting, released, lost),
--         promoted (id, lane; flat)
local settled = {}

local function release(request)
  request.attempt = request.attempt > 1 and request.attempt - 1 or nil
  request.state, request.token = 'queued', nil
  set_due(request, now)
  save_record(request)
  return 'released'
end

local COUNTS_AS = {answered = 'answered', failed = 'failed', busy = 'failed'}
local SAYS = {
  ['end'] = 'ok', answered = 'ok', failed = 'failed', busy = 'busy', refused = 'refused',
  forbidden = 'forbidden', interrupted = 'none', release = 'none',
}

-- A probe tells of the API, and not of its request.
local function counts_as(follows, is_probe)
  return not (is_probe and follows ~= 'answered') and COUNTS_AS[follows]
end

-- Behind a shut gate a request waits for the gate: backoff would come on top of that. But for one that was
-- the probe, so that the next probe is another one.
local function try_again(request, counted, members, delay, least, was_probe)
  if gate.cause then
    local short = was_probe and math.max(delay, 2 * probe_us()) or math.min(delay, probe_us())
    delay = math.max(least, short)
  end
  if counted then request[counted] = (request[counted] or 0) + 1 end
  local target = load_target(request.target_digest)
  local outcome, detail = ending(request, target)
  if outcome then
    add_attempt(request, members)
    finish_on_target(request, target, outcome, detail)
    return 'ended'
  end
  local at = math.min(now + delay, request.not_after)
  add_attempt(request, members, at - now)
  request.state, request.token = 'waiting', nil
  set_due(request, at)
  save_record(request)
  return 'waiting'
end

local function settle(id, token, follows, members, argument)
  local request = load_record(id)
  if not request or request.token ~= token or not call_in_flight(request) then return 'lost' end
  local delay, least, hold, said = string.match(argument, '^(%d+) (%d+) (%d+) (.*)$')
  local is_probe = learn_of_call(SAYS[follows], request, token, said, tonumber(hold))
  leave_gate(id)
  if follows == 'release' then return release(request) end
  request.lost = nil
  if follows ~= 'end' then
    local counted = counts_as(follows, is_probe)
    return try_again(request, counted, members, tonumber(delay), tonumber(least), is_probe)
  end
  local outcome, detail = string.match(argument, '^([^\n]*)\n(.*)$')
  request.verified = string.match(members, '"verified":"([%a_]+)"$')
  add_attempt(request, members)
  finish_on_target(request, load_target(request.target_digest), outcome, detail)
  return 'ended'
end

local function tally_call(number)
  local kind = options.calls.kinds[options.calls.of[number]]
  if not kind then return end
  tally('attempt', kind[1], kind[2], 1)
  tally('call', kind[3], '', 1)
  tally('call', 'us', '', options.calls.us[number])
end

for index = 2, #ARGV, 5 do
  local answer = settle(ARGV[index], ARGV[index + 1], ARGV[index + 2], ARGV[index + 3],
    ARGV[index + 4])
  settled[#settled + 1] = answer
  -- Where this is a repetition it is lost, and was counted then.
  if options.calls and answer ~= 'lost' then tally_call(#settled) end
end
commit()
return {whole(now), settled, promoted}
