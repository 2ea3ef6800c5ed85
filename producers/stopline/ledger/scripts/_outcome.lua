-- Outcomes as they were written.

-- The outcome of an ended request, or nil. A failure that Celery wrote is none of ours.
local function read_outcome(id)
  local raw = redis.call('GET', RESULT .. id)
  local outcome = raw and cjson.decode(raw).result
  return type(outcome) == 'table' and outcome.outcome and outcome or nil, raw
end

local function target_of(outcome)
  local target = outcome.user_id .. '/' .. outcome.task_id
  return outcome.sub_user_id and target .. '/' .. outcome.sub_user_id or target
end
