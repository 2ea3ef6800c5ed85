-- An open request: one field a line, in the order of FIELDS, an empty line where there is none.
-- Every text in it is JSON-escaped or of the id characters, so no field holds a line break.
-- One string costs a third of a hash here, and reads as text with GET.
--
--   state         queued | calling | waiting; alias: a pointer, `target` is the id it follows
--   target        user_id/task_id[/sub_user_id]
--   target_digest names the target's key, a fifth of the bytes
--   lane          emergency | default | bulk
--   issued_at     when the first wish was issued          (all times: microseconds)
--   wish_at       when the latest joined wish was issued: only a call begun since satisfies it
--   accepted_at   when the ledger took it
--   not_after     no attempt begins from then on
--   body          the fields that scripts only copy, as JSON members: "source":"…","reason":"…"
--   batches       who counts its outcome: batch=wishes,batch=wishes
--   attempt       the number of the last attempt begun
--   began_at      when that attempt was claimed: a lower bound of when its call began
--   token         of the lease of that attempt: the claim's, a dot, the attempt
--   due_at        its score in the due index: while calling, the end of the lease
--   lost          claims in a row whose lease ended without a result
--   attempts      finished attempts, as JSON objects
--   joined        who joined, as JSON objects (the first JOINED_MAX)
--   joined_count
--   aliases       Celery ids that get the same outcome
--   cancelled     who cancelled it while a call was in flight, as a JSON string
local FIELDS = {
  'state', 'target', 'target_digest', 'lane', 'issued_at', 'wish_at', 'accepted_at', 'not_after', 'body',
  'batches', 'attempt', 'began_at', 'token', 'due_at', 'lost', 'attempts', 'joined',
  'joined_count', 'aliases', 'cancelled',
}
local NUMBERS = {
  issued_at = true, wish_at = true, accepted_at = true, not_after = true, attempt = true,
  began_at = true, due_at = true, lost = true, joined_count = true,
}
local TARGET_FIELDS = {'active', 'next', 'succeeded_at', 'succeeded_by', 'resumed_at'}
local TARGET_NUMBERS = {succeeded_at = true, resumed_at = true}

-- Lua's tostring rounds to 14 digits; microseconds have 16.
local function whole(number)
  return string.format('%.0f', number)
end

local function decode(raw, fields, numbers)
  local values, index = {}, 0
  for line in string.gmatch(raw .. '\n', '([^\n]*)\n') do
    index = index + 1
    local name = fields[index]
    if name and line ~= '' then
      values[name] = numbers[name] and tonumber(line) or line
    end
  end
  return values
end

local function encode(values, fields, numbers)
  local lines, last = {}, 0
  for index, name in ipairs(fields) do
    local value = values[name]
    if value ~= nil then last = index end
    lines[index] = value == nil and '' or numbers[name] and whole(value) or value
  end
  return table.concat(lines, '\n', 1, last)
end

local function load_record(id)
  local raw = redis.call('GET', RECORD .. id)
  if not raw then return nil end
  local request = decode(raw, FIELDS, NUMBERS)
  request.id = id
  return request
end

local function save_record(request)
  redis.call('SET', RECORD .. request.id, encode(request, FIELDS, NUMBERS))
end

-- The invariant lives here: an open request is in the index of its lane, and only there.
local function set_due(request, at)
  request.due_at = at
  redis.call('ZADD', DUE .. request.lane, whole(at), request.id)
end

local function forget_record(request)
  redis.call('ZREM', DUE .. request.lane, request.id)
  redis.call('DEL', RECORD .. request.id)
end

local function load_target(digest)
  local raw = redis.call('GET', TARGET .. digest)
  local target = raw and decode(raw, TARGET_FIELDS, TARGET_NUMBERS) or {}
  target.digest = digest
  return target
end

-- What is known of a target must outlive its open requests; after them it is kept as long as
-- outcomes are.
local function save_target(target)
  local value = encode(target, TARGET_FIELDS, TARGET_NUMBERS)
  if target.active then
    redis.call('SET', TARGET .. target.digest, value)
  else
    redis.call('SET', TARGET .. target.digest, value, 'EX', options.result_ttl_s)
  end
end

local function call_in_flight(request)
  return request.state == 'calling' and request.due_at > now
end
