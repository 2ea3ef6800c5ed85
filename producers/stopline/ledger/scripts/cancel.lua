-- requires: record target commit finish durable audit
-- flags: allow-oom
-- Ends requests on somebody's word; a call in flight may finish, but no further one begins.
--
-- KEYS    none: they follow from the records (the ledger lives on one node)
-- ARGV    1 options (JSON): audit, audit_max, counts, dead_letter_ttl_s, deadline_us, detail, durable,
--           look_again_us, only, outcomes_max, recent_max, result_ttl_s
--           detail: who cancelled, as a JSON string; audit: the same for the trail; only: whose
--           requests, as the JSON member that their bodies begin with
--         2… request ids
-- returns a word for each id (cancelled, no_further_attempt, already_finished, unknown,
--         not_own),
--         promoted (id, lane; flat)
local results, named, changed = {}, {}, false

local function is_own(request)
  return not request.joined_count
    and string.sub(request.body .. ',', 1, #options.only + 1) == options.only .. ','
end

local function cancel(id)
  local request = load_record(id)
  if request and request.state == 'alias' then request = load_record(request.target) end
  if not request then
    return redis.call('EXISTS', RESULT .. id) == 1 and 'already_finished' or 'unknown'
  end
  if options.only and not is_own(request) then return 'not_own' end
  if options.audit and #named < TARGETS_NAMED_MAX then named[#named + 1] = request.target end
  if call_in_flight(request) then
    request.cancelled, changed = options.detail, true
    save_record(request)
    return 'no_further_attempt'
  end
  changed = true
  finish_on_target(request, load_target(request.target_digest), 'cancelled', options.detail)
  return 'cancelled'
end

for index = 2, #ARGV do
  results[#results + 1] = cancel(ARGV[index])
end
if changed then audit(1, 'targets', table.concat(named, ' ')) end
commit()
return {results, promoted}
