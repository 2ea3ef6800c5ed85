-- requires: clock record target finish attempt guards
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
  request.state, request.held_for = 'queued', nil
  if active then
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

local function release(request)
  local target = load_target(request.target_digest)
  local outcome, detail = ending(request, target)
  if not outcome and target.succeeded_at and target.succeeded_at >= request.wish_at then
    finish(request, 'stopped', SATISFIED, target.succeeded_by)
    if target.held == request.id then target.held = nil end
    save_target(target)
    return 'satisfied'
  end
  if outcome then
    finish_on_target(request, target, outcome, detail)
    return outcome
  end
  return take_turn(request, target)
end

-- A held request whose time has come to be looked at: it ends, or goes on, or is held further.
local function consider_held(request)
  local target = load_target(request.target_digest)
  local outcome, detail = ending(request, target)
  if outcome then return finish_on_target(request, target, outcome, detail) end
  local goes = request.held_for == 'turn' and 'now' or lets_go(request.guard)
  if goes == 'now' then
    release(request)
  elseif goes == 'later' then
    look_again(request, now + options.look_again_us)
  else
    request.held_for = 'tripped'
    look_again(request, request.not_after)
  end
end
