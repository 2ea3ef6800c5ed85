-- requires: clock record target finish attempt guards lanes
-- How a held request goes on: the rules of causal dedup decide anew.

local function look_again(request, at)
  set_due(request, math.min(at, request.not_after))
  save_record(request)
end

-- It becomes its target's active request, or its next one; where both are taken it waits for its turn.
-- A word for what became of it.
local function take_turn(request, target)
  local active = target.active and load_record(target.active)
  if active and target.next and load_record(target.next) then
    request.held_for = 'turn'
    look_again(request, now + options.look_again_us)
    return 'waiting'
  end
  leave_hold(request)
  if target.held == request.id then target.held = nil end
  request.state, request.held_for, request.canary = 'queued', 'released', nil
  if active then
    if promote_lane(active, request.lane) ~= nil then save_record(active) end
    target.next = request.id
    look_again(request, math.max(now + options.look_again_us, active.due_at))
  else
    target.active, target.next = request.id, nil
    look_again(request, now)
    promoted[#promoted + 1] = request.id
    promoted[#promoted + 1] = request.lane
  end
  save_target(target)
  return 'released'
end

-- Ends a held request where it wants nothing more, or may not be called for any more. A word for it.
local function end_held(request, target)
  if target.succeeded_at and target.succeeded_at >= request.wish_at
    and not (target.resumed_at and target.resumed_at >= request.wish_at) then
    if target.held == request.id then target.held = nil end
    finish(request, 'stopped', SATISFIED, target.succeeded_by)
    save_target(target)
    return 'satisfied'
  end
  local outcome, detail = ending(request, target)
  if outcome then finish_on_target(request, target, outcome, detail) end
  return outcome
end

local function release(request)
  local target = load_target(request.target_digest)
  return end_held(request, target) or take_turn(request, target)
end

-- A held request whose time has come to be looked at: it ends, or goes on, or is held further. What a
-- guard holds that has tripped goes on a person's word alone.
local function consider_held(request)
  local target = load_target(request.target_digest)
  if end_held(request, target) then return end
  local goes = request.held_for == 'turn' and 'now'
    or request.held_for == 'canary' and lets_go(request) or 'never'
  if goes == 'now' then
    local waits_for_canary = request.held_for == 'canary'
    take_turn(request, target)
    if waits_for_canary then wake_held(request.guard) end
  elseif goes == 'later' then
    look_again(request, look_at_held_again(request.guard))
  else
    request.held_for = 'tripped'
    look_again(request, request.not_after)
  end
end
