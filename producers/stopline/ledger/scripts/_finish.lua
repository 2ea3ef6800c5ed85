-- requires: clock json record target batch dead tally commit buckets guards stream
-- How a request ends. The outcome is one JSON text in the format of Celery's results backend
-- (celery/backends/base.py, _get_result_meta), so AsyncResult reads it; PUBLISH wakes its get().
-- Left out, as Celery reads them as null anyway: traceback and children.
local DEAD_OUTCOMES = {
  rejected = true, not_found = true, exhausted = true, expired = true, quarantined = true,
}
local SATISFIED = '"A call for this target that began after this request was issued succeeded."'
local SUPERSEDED = '"The target was resumed after this request was issued."'
local DRY_RUN = '"A dry run: its guard records what would be called for, and nothing is."'
local promoted, ended = {}, {}
local RECENT_AT_ONCE = 1000

-- How it ended, and how long a stop took.
local function tally_outcome(request, outcome, satisfied_by)
  tally('outcome', request.lane, outcome, 1)
  if outcome ~= 'stopped' or satisfied_by or request.held_for then return end
  local took = now - request.accepted_at
  tally('stop', request.lane, stop_bucket(took), 1)
  tally('stop', request.lane, 'us', took)
end

local function result_prefix(id)
  return '{"task_id":"' .. id .. '",'
end

-- The rest is the same for every id that gets this outcome, aliases too.
local function write_result(id, rest, ttl_s)
  local value = result_prefix(id) .. rest
  redis.call('SET', RESULT .. id, value, 'EX', ttl_s)
  redis.call('PUBLISH', RESULT .. id, value)
end

local function outcome_json(request, outcome, detail, satisfied_by)
  local user, task, sub_user = string.match(request.target, '^([^/]+)/([^/]+)/?(.*)$')
  local parts = {
    '{"request_id":"', request.id, '","user_id":"', user, '","task_id":"', task,
    sub_user ~= '' and '","sub_user_id":"' .. sub_user or '', '","lane":"', request.lane, '",',
    request.body,
    -- What the sender left to the ledger is not repeated: two of its times make a tenth of it.
    request.issued_at ~= request.accepted_at
      and ',"issued_at":"' .. rfc3339(request.issued_at) .. '"' or '',
    request.not_after ~= request.accepted_at + options.deadline_us
      and ',"not_after":"' .. rfc3339(request.not_after) .. '"' or '',
    ',"accepted_at":"', rfc3339(request.accepted_at),
    '","outcome":"', outcome, '","detail":', detail,
    satisfied_by and ',"satisfied_by":"' .. satisfied_by .. '"' or '',
    request.stopped_before and ',"stopped_before":"' .. request.stopped_before .. '"' or '',
    ',"finished_at":"', rfc3339(now), '"',
    request.held_for and ',"held_by":' .. json_string(request.guard) or '',
    request.verified and ',"verified":"' .. request.verified .. '"' or '',
    request.joined_count and ',"joined_count":' .. request.joined_count
      .. ',"joined":[' .. (request.joined or '') .. ']' or '',
    request.attempts and ',"attempts":[' .. request.attempts .. ']' or '',
    '}',
  }
  return table.concat(parts)
end

-- When a canary has ended well, and whenever some that waited for it went: the next ones are due now.
local AWAKE_AT_ONCE = 250
local waking = {}

local function wake_held(name)
  waking[name] = true
end

at_commit(function()
  for name in pairs(waking) do
    for _, id in ipairs(redis.call('ZRANGE', HELD .. name, 0, AWAKE_AT_ONCE - 1)) do
      local held = load_record(id)
      if held and held.held_for == 'canary' and held.due_at > now then
        set_due(held, now)
        save_record(held)
      end
    end
  end
end)

-- Writes the outcome under every id that waits for it, counts it, and forgets the open request.
-- `detail` is a JSON string. Does not touch the target.
local function finish(request, outcome, detail, satisfied_by)
  local dead = DEAD_OUTCOMES[outcome]
  local ttl_s = dead and options.dead_letter_ttl_s or options.result_ttl_s
  local document = outcome_json(request, outcome, detail, satisfied_by)
  local rest = '"status":"SUCCESS","result":' .. document
    .. ',"date_done":"' .. string.sub(rfc3339(now), 1, 19) .. 'Z"}'
  write_result(request.id, rest, ttl_s)
  for alias in string.gmatch(request.aliases or '', '[^,]+') do
    write_result(alias, rest, ttl_s)
    redis.call('DEL', RECORD .. alias)
  end
  each_batch(request.batches, function(batch_id, wishes)
    count(batch_id, 'outcome:' .. outcome, wishes)
    count(batch_id, 'pending', -wishes)
  end)
  if request.state == 'held' then
    leave_hold(request)
  elseif request.guard and tell_guard(request, outcome) then
    wake_held(request.guard)
  end
  if dead then bury(request.id) end
  stream(document)
  if options.counts then tally_outcome(request, outcome, satisfied_by) end
  if options.recent_max then ended[#ended + 1] = request.id end
  forget_record(request)
end

-- The last that ended, the newest first.
at_commit(function()
  for first = 1, #ended, RECENT_AT_ONCE do
    local last = math.min(#ended, first + RECENT_AT_ONCE - 1)
    redis.call('LPUSH', RECENT, unpack(ended, first, last))
  end
  if #ended > 0 then
    redis.call('LTRIM', RECENT, 0, options.recent_max - 1)
    redis.call('EXPIRE', RECENT, math.max(options.result_ttl_s, options.dead_letter_ttl_s))
  end
end)

-- Makes the next request of a target its active one.
local function promote_next(target)
  local request = load_record(target.next)
  target.active, target.next = target.next, nil
  set_due(request, now)
  save_record(request)
  promoted[#promoted + 1] = request.id
  promoted[#promoted + 1] = request.lane
end

-- What is held for a target wants nothing more where a call that began since has stopped it.
local function satisfy_held(request, target)
  local held = target.held and load_record(target.held)
  if held and request.began_at >= held.wish_at then
    target.held = nil
    finish(held, 'stopped', SATISFIED, request.id)
  end
end

-- Ends a request and moves its target on: a success is remembered, and the next request is
-- satisfied by it or takes the place of the ended one.
local function finish_on_target(request, target, outcome, detail)
  if outcome == 'stopped' and target.succeeded_at
    and not (target.resumed_at and target.resumed_at >= target.succeeded_at) then
    request.stopped_before = target.succeeded_by
  end
  finish(request, outcome, detail)
  if target.next == request.id then
    target.next = nil
  elseif target.held == request.id then
    target.held = nil
  elseif target.active == request.id then
    target.active = nil
    if outcome == 'stopped' then
      target.succeeded_at, target.succeeded_by = request.began_at, request.id
      satisfy_held(request, target)
    end
    local following = target.next and load_record(target.next)
    if following and outcome == 'stopped' and request.began_at >= following.wish_at then
      target.next = nil
      finish(following, 'stopped', SATISFIED, request.id)
    elseif following then
      promote_next(target)
    else
      target.next = nil
    end
  end
  save_target(target)
end
