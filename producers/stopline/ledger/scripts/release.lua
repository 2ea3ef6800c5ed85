-- requires: record target commit finish release audit durable
-- flags: allow-oom
-- Lets held requests go, or drops them, on somebody's word.
--
-- KEYS    none: they follow from the records (the ledger lives on one node)
-- ARGV    1 options (JSON): attempts_max, audit, audit_max, claims_lost_max, counts, dead_letter_ttl_s,
--           deadline_us, detail, durable, look_again_us, outcomes_max, recent_max, result_ttl_s,
--           upstream_failures_max
--           detail: who drops them, as a JSON string; absent: they are let go
--         2… request ids
-- returns a word for each id (released, waiting, satisfied, superseded, expired, cancelled; not_held,
--         unknown),
--         promoted (id, lane; flat)
local results, named = {}, {}

-- A worker of an older version knows no guards, and leaves an index behind.
local function forget_held(id)
  for _, source in ipairs(redis.call('SMEMBERS', HOLDING)) do redis.call('ZREM', HELD .. source, id) end
end

local function act_on(id)
  local request = load_record(id)
  if request and request.state == 'alias' then request = load_record(request.target) end
  if not request or request.state ~= 'held' then
    forget_held(id)
    return (request or redis.call('EXISTS', RESULT .. id) == 1) and 'not_held' or 'unknown'
  end
  if options.audit and #named < TARGETS_NAMED_MAX then named[#named + 1] = request.target end
  if not options.detail then return release(request) end
  finish_on_target(request, load_target(request.target_digest), 'cancelled', options.detail)
  return 'cancelled'
end

for index = 2, #ARGV do
  results[#results + 1] = act_on(ARGV[index])
end
if #named > 0 then audit(1, 'targets', table.concat(named, ' ')) end
commit()
return {results, promoted}
