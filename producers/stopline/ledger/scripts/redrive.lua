-- requires: text clock commit memory item replies earlier accept tell durable trail
-- Sends dead letters again: each leaves the index in the same step in which a new request with
-- its target is accepted, so two people who redrive at once redrive once. Repeated with the same
-- new ids, after a lost reply, it tells what came of the first time.
--
-- KEYS    none: they follow from the requests (the ledger lives on one node)
-- ARGV    1 options (JSON): audit, audit_max, claims_lost_max, counts, dead_letter_ttl_s, deadline_us,
--           durable, expire_late, idempotency_ttl_s, look_again_us, outcomes_max, queues_here,
--           recent_max, result_ttl_s, upstream_failures_max
--         2… for each dead letter its id, then the new request as for accept
-- returns now, replies as for accept; 'refused', 'not_dead' where the id is no dead letter
local short = memory_is_short()
for first = 2, #ARGV, 2 do
  local item = read_item(ARGV[first + 1])
  if short then
    refuse('memory')
  elseif redis.call('ZREM', DEAD, ARGV[first]) == 0 and not find_by_id(item.id) then
    refuse('not_dead')
  else
    take_in(item)
  end
end
commit()
return {whole(now), replies}
