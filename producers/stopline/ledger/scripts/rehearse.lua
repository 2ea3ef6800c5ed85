-- requires: text clock memory item replies accept guards
-- flags: no-writes
-- first: rehearsal
-- Tells what accepting some requests would come to now, and takes in none.
--
-- KEYS    none: they follow from the requests (the ledger lives on one node)
-- ARGV    1 options (JSON): audit_max, claims_lost_max, counts, dead_letter_ttl_s, deadline_us,
--           expire_late, idempotency_ttl_s, look_again_us, outcomes_max, recent_max, result_ttl_s,
--           upstream_failures_max
--         2 what the script returned for those before: '' for the first
--         3… requests, each with the ITEM_FIELDS of _item.lua
-- returns now, for each request (flat) what accept returns, and for the next ones what guards counted
if ARGV[2] ~= '' then
  local before = cjson.decode(ARGV[2])
  passed = before.passed
  if guards_text then
    all_guards()
    guard_states = before.states
  end
end
local short = memory_is_short()
for index = 3, #ARGV do
  if short then refuse('memory') else accept(read_item(ARGV[index])) end
end
return {whole(now), replies, cjson.encode({passed = passed, states = guard_states or {}})}
