-- requires: text clock record target commit finish attempt tally
-- flags: allow-oom
-- Records finished attempts. Without a valid lease nothing changes.
--
-- KEYS    none: they follow from the records (the ledger lives on one node)
-- ARGV    1 options (JSON): attempts_max, claims_lost_max, dead_letter_ttl_s, deadline_us,
--           outcomes_max, recent_max, result_ttl_s, upstream_failures_max, counts, calls
--           calls: where they are counted: `kinds`, each a verdict, a class of status, a bucket; `of`: for
--           each attempt which of them, or 0; `us`: how long it took
--         2… for each attempt: request id, token, what follows, the attempt's JSON members,
--           argument; where what follows is
--             end      argument: outcome, a line break, the detail as a JSON string
--             answered     the reply spoke of this request: it counts for `attempts_max`
--             failed       the upstream's fault: it counts for `upstream_failures_max`
--             interrupted  the worker's doing: it counts for neither
--                          argument of these: microseconds until the next attempt
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

local function try_again(request, follows, members, delay)
  if follows ~= 'interrupted' then request[follows] = (request[follows] or 0) + 1 end
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
  if follows == 'release' then return release(request) end
  request.lost = nil
  if follows ~= 'end' then return try_again(request, follows, members, tonumber(argument)) end
  local outcome, detail = string.match(argument, '^([^\n]*)\n(.*)$')
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
