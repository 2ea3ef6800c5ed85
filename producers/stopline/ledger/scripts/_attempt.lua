-- requires: text clock json finish
-- How an attempt is recorded, and why none may follow.
-- Of more attempts than this the middle ones are left out: an hour's outage makes a hundred of them.
-- Their numbers show the gap.
local FIRST_ATTEMPTS, LAST_ATTEMPTS = 10, 10
-- Between two attempts. In a JSON string it cannot stand: quotes have a backslash before them there.
local NEXT_ATTEMPT = '},{"number":'

local function without_middle(attempts)
  local at, starts = 1, {}
  while at do
    starts[#starts + 1] = at
    at = string.find(attempts, NEXT_ATTEMPT, at + 1, true)
  end
  if #starts <= FIRST_ATTEMPTS + LAST_ATTEMPTS then return attempts end
  return string.sub(attempts, 1, starts[FIRST_ATTEMPTS + 1])
    .. string.sub(attempts, starts[#starts - LAST_ATTEMPTS + 1] + 1)
end

-- `members`: the attempt's own JSON members; `retry_in` in microseconds, where one follows.
local function add_attempt(request, members, retry_in)
  local entry = '{"number":' .. whole(request.attempt) .. ',"started_at":"'
    .. rfc3339(request.began_at) .. '",' .. members
    .. (retry_in and string.format(',"retry_in_s":%.3f', retry_in / 1000000) or '') .. '}'
  request.attempts = request.attempts and request.attempts .. ',' .. entry or entry
  if request.attempt > FIRST_ATTEMPTS + LAST_ATTEMPTS then
    request.attempts = without_middle(request.attempts)
  end
end

-- Why no further attempt may begin: outcome and detail, or nothing.
local function ending(request, target)
  if request.cancelled then
    return 'cancelled', request.cancelled
  elseif target.resumed_at and target.resumed_at >= request.wish_at then
    return 'superseded', SUPERSEDED
  elseif now >= request.not_after then
    return 'expired', json_string('The time limit ' .. rfc3339(request.not_after) .. ' passed.')
  elseif (request.lost or 0) >= options.claims_lost_max then
    return 'quarantined', json_string(request.lost
      .. ' workers in a row were lost while they called for it.')
  elseif (request.answered or 0) >= options.attempts_max then
    return 'exhausted', json_string('The API answered ' .. request.answered
      .. ' times and confirmed no stop.')
  elseif options.upstream_failures_max and (request.failed or 0) >= options.upstream_failures_max then
    return 'exhausted', json_string('The API failed ' .. request.failed .. ' times.')
  end
end
