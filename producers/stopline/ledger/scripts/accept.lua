-- requires: clock json record batch finish memory accept durable
-- Takes stop requests into the ledger.
--
-- KEYS    none: they follow from the requests (the ledger lives on one node)
-- ARGV    1 options (JSON): deadline_us, look_again_us, result_ttl_s, dead_letter_ttl_s,
--           idempotency_ttl_s, expire_late (a time limit that has passed is an outcome, not an
--           error)
--         2… requests, each with the ITEM_FIELDS of _accept.lua
-- returns now, for each request (flat) the kind of receipt, the id to follow, its lane, and
--         '1' where it is to be dispatched; a refusal is 'refused', why, '', ''
local short = memory_is_short()
for index = 2, #ARGV do
  if short then refuse('memory') else accept(read_item(ARGV[index])) end
end
write_batches()
write_places()
return {whole(now), replies}
