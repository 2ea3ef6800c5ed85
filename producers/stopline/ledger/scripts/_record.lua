-- requires: text clock layouts tally
-- Open requests; `RECORD` in layouts.py says what a record holds.

local function load_record(id)
  local raw = redis.call('GET', RECORD .. id)
  if not raw then return nil end
  local request = decode_record(raw)
  request.id = id
  if options.counts and request.state ~= 'alias' then
    request.stood_lane, request.stood_state = request.lane, request.state
  end
  return request
end

local function save_record(request)
  if options.counts then move(request, request.lane, request.state) end
  redis.call('SET', RECORD .. request.id, encode_record(request))
end

-- The invariant lives here: an open request is in the index of its lane, and only there.
local function set_due(request, at)
  request.due_at = at
  redis.call('ZADD', DUE .. request.lane, whole(at), request.id)
end

local function forget_record(request)
  if options.counts then move(request) end
  redis.call('ZREM', DUE .. request.lane, request.id)
  redis.call('DEL', RECORD .. request.id)
end

local function call_in_flight(request)
  return request.state == 'calling' and request.due_at > now
end
