-- requires: record batch backlog
-- Requests of batches that are paused: nobody calls for them, unless somebody else wants it, too.
local paused = {}

local function is_of_batch(request)
  return string.find(request.body, ',"batch_id":"', 1, true) ~= nil
end

-- Whether everybody who asked for it did so in batches that are paused.
local function is_paused(request)
  if not request.batches or request.joined_alone or not is_of_batch(request) then return false end
  local all = true
  each_batch(request.batches, function(batch_id)
    if paused[batch_id] == nil then paused[batch_id] = is_batch_paused(batch_id) end
    all = all and paused[batch_id]
  end)
  return all
end

-- It waits with the others of its batches, whichever goes on first, and is looked at again when it may have to end.
local function park(request)
  each_batch(request.batches, function(batch_id)
    line_up(line_of(request.lane, 'b:' .. batch_id), nil, request.id, request.not_after)
  end)
  request.state, request.token = 'queued', nil
  set_due(request, request.not_after)
  save_record(request)
end
