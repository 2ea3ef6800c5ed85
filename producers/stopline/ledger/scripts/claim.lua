-- requires: clock json record batch finish attempt
-- flags: allow-oom
-- Claims requests by id, for those that a dispatch message names.
--
-- KEYS    none: they follow from the records (the ledger lives on one node)
-- ARGV    1 options (JSON): token, lease_us, attempts_max, claims_lost_max, look_again_us,
--           suspect_room, suspect_wait_us, result_ttl_s, dead_letter_ttl_s
--         2… request ids
-- returns now, grants (id, target, attempt, not_after, lease's end, claims lost, token; flat),
--         promoted (id, lane; flat)
for index = 2, #ARGV do
  local request = load_record(ARGV[index])
  if request and request.state ~= 'alias' then consider(request) end
end
write_batches()
return {whole(now), grants, promoted}
