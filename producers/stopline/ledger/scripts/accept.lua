-- requires: text clock commit memory item replies accept tell durable trail
-- Takes stop requests into the ledger.
--
-- KEYS    none: they follow from the requests (the ledger lives on one node)
-- ARGV    1 options (JSON): audit, audit_max, claims_lost_max, counts, dead_letter_ttl_s, deadline_us,
--           durable, expire_late, idempotency_ttl_s, look_again_us, outcomes_max, queues_here,
--           recent_max, result_ttl_s, upstream_failures_max
--           expire_late: a deadline that has passed is an outcome, not an error
--           queues_here: whether to put messages on the lanes' queues
--         2… requests, each with the ITEM_FIELDS of _item.lua
-- returns now, for each request (flat) the kind of receipt, the id to follow, its lane, and
--         '1' where it is to be dispatched still; a refusal is 'refused', why, '' (of a
--         conflict what the earlier request is known by: id, place, key), ''
local short = memory_is_short()
for index = 2, #ARGV do
  if short then refuse('memory') else take_in(read_item(ARGV[index])) end
end
commit()
return {whole(now), replies}
