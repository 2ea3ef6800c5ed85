-- requires: text clock record commit finish grant gate passing pausing turns
-- flags: allow-oom
-- Claims requests by id, for those that a dispatch message names.
--
-- KEYS    none: they follow from the records (the ledger lives on one node)
-- ARGV    1 options (JSON): adaptive, attempts_max, audit_max, claims_lost_max, concurrent,
--           concurrent_reserve, counts, dead_letter_ttl_s, deadline_us, lease_us, look_again_us,
--           outcomes_max, probe_us, rate_burst, rate_reserve, rate_us, recent_max, result_ttl_s,
--           retry_budget, suspect_room, suspect_wait_us, token, traces, upstream_failures_max
--         2… request ids
-- returns now, grants (id, target, attempt, not_after, lease's end, claims lost, token, and with
--         `traces` the contexts of its traces; flat),
--         promoted (id, lane; flat), why the gate is shut, or '', and now where others of a batch
--         wait for their turn, or ''
local lanes_of_batches = {}
for index = 2, #ARGV do
  local request = load_record(ARGV[index])
  if request and request.state ~= 'alias' then
    request.stands_behind = has_others_before(request)
    if is_of_batch(request) then lanes_of_batches[request.lane] = true end
    consider(request)
  end
end
local more_wait = false
for lane in pairs(lanes_of_batches) do more_wait = more_wait or has_turns(lane) end
commit()
return {whole(now), grants, promoted, gate.cause or '', more_wait and whole(now) or ''}
