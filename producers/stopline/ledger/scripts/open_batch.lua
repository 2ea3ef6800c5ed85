-- requires: batch commit
-- Writes down what a batch is, before its first request or after it; who says so first is right.
--
-- KEYS    none: they follow from the batch (the ledger lives on one node)
-- ARGV    1 options (JSON): dead_letter_ttl_s, recent_max, result_ttl_s
--         2 batch, then of what is known of it (name, source, reason)
--         3… the field and its text
-- returns whose it is, as far as anybody said
for index = 3, #ARGV, 2 do
  redis.call('HSETNX', BATCH .. ARGV[2], ARGV[index], ARGV[index + 1])
end
count(ARGV[2], 'total', 0)
local source = redis.call('HGET', BATCH .. ARGV[2], 'source') or ''
commit()
return source
