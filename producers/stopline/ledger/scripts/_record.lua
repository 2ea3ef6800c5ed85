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
--   answered      attempts whose replies spoke of this request and settled nothing
--   failed        attempts that failed by the upstream's fault
--
-- The script's time goes into taking records apart and putting them together: one match with a
-- capture a field, and one concatenation, cost a third of loops over the fields.
local FIELDS = {
  'state', 'target', 'target_digest', 'lane', 'issued_at', 'wish_at', 'accepted_at', 'not_after', 'body',
  'batches', 'attempt', 'began_at', 'token', 'due_at', 'lost', 'attempts', 'joined',
  'joined_count', 'aliases', 'cancelled', 'answered', 'failed',
}
local FIELD = '([^\n]*)'
local RECORD_FIELDS = '^' .. string.rep(FIELD .. '\n', #FIELDS - 1) .. FIELD
local MISSING_FIELDS = string.rep('\n', #FIELDS - 1)
local TARGET_FIELDS = '^' .. string.rep(FIELD .. '\n', 4) .. FIELD
local MISSING_TARGET_FIELDS = string.rep('\n', 4)

local function text(number)
  return number and string.format('%d', number) or ''
end

local function present(field)
  if field ~= '' then return field end
end

local function decode(id, raw)
  local state, target, target_digest, lane, issued_at, wish_at, accepted_at, not_after, body,
    batches, attempt, began_at, token, due_at, lost, attempts, joined, joined_count, aliases,
    cancelled, answered, failed = string.match(raw .. MISSING_FIELDS, RECORD_FIELDS)
  return {
    id = id, state = state, target = target, target_digest = target_digest, lane = lane,
    issued_at = tonumber(issued_at), wish_at = tonumber(wish_at),
    accepted_at = tonumber(accepted_at), not_after = tonumber(not_after), body = body,
    batches = present(batches), attempt = tonumber(attempt), began_at = tonumber(began_at),
    token = present(token), due_at = tonumber(due_at), lost = tonumber(lost),
    attempts = present(attempts), joined = present(joined),
    joined_count = tonumber(joined_count), aliases = present(aliases),
    cancelled = present(cancelled), answered = tonumber(answered), failed = tonumber(failed),
  }
end

-- The last fields are empty in most records, and left out then.
local function encode(r)
  local first = table.concat({
    r.state, r.target, r.target_digest, r.lane, whole(r.issued_at), whole(r.wish_at),
    whole(r.accepted_at), whole(r.not_after), r.body, r.batches or '', text(r.attempt),
    text(r.began_at), r.token or '', text(r.due_at),
  }, '\n')
  if not (r.lost or r.attempts or r.joined_count or r.aliases or r.cancelled) then return first end
  return table.concat({
    first, text(r.lost), r.attempts or '', r.joined or '', text(r.joined_count), r.aliases or '',
    r.cancelled or '', text(r.answered), text(r.failed),
  }, '\n')
end

local function load_record(id)
  local raw = redis.call('GET', RECORD .. id)
  if not raw then return nil end
  return decode(id, raw)
end

local function save_record(request)
  redis.call('SET', RECORD .. request.id, encode(request))
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
  if not raw then return {digest = digest} end
  local active, following, succeeded_at, succeeded_by, resumed_at =
    string.match(raw .. MISSING_TARGET_FIELDS, TARGET_FIELDS)
  return {
    digest = digest, active = present(active), next = present(following),
    succeeded_at = tonumber(succeeded_at), succeeded_by = present(succeeded_by),
    resumed_at = tonumber(resumed_at),
  }
end

local function encode_target(t)
  if not (t.next or t.succeeded_at or t.resumed_at) then return t.active or '' end
  return table.concat({
    t.active or '', t.next or '', text(t.succeeded_at), t.succeeded_by or '', text(t.resumed_at),
  }, '\n')
end

-- What is known of a target must outlive its open requests; after them it is kept as long as
-- outcomes are.
local function save_target(target)
  local value = encode_target(target)
  if target.active then
    redis.call('SET', TARGET .. target.digest, value)
  else
    redis.call('SET', TARGET .. target.digest, value, 'EX', options.result_ttl_s)
  end
end

local function call_in_flight(request)
  return request.state == 'calling' and request.due_at > now
end
