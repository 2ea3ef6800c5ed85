-- requires: clock commit guards audit durable
-- flags: allow-oom
-- Lets a guard begin anew, on somebody's word. What it holds, it holds still.
--
-- KEYS    none: they follow from the guard (the ledger lives on one node)
-- ARGV    1 options (JSON): audit, audit_max, counts, dead_letter_ttl_s, durable, look_again_us,
--           result_ttl_s
--         2 source
-- returns 1 where it had tripped, 0 where it had not, -1 where there is no such guard
local guard = guards_text and all_guards()[ARGV[2]]
local had_tripped = guard and is_tripped(guard) and 1 or 0
if guard then
  redis.call('DEL', GUARD .. ARGV[2], PASSED .. ARGV[2])
  guard_states[ARGV[2]] = {}
  audit(1)
end
commit()
return guard and had_tripped or -1
