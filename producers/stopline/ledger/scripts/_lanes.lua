-- requires: record
-- From lane to lane.
local URGENCY = {emergency = 1, default = 2, bulk = 3}

-- A more urgent wish takes the request to its lane. Whether it is to be dispatched there; nil if
-- it stays where it is.
local function promote_lane(request, lane)
  if URGENCY[lane] >= URGENCY[request.lane] then return nil end
  redis.call('ZREM', DUE .. request.lane, request.id)
  request.lane = lane
  set_due(request, request.due_at)
  return request.state == 'queued'
end
