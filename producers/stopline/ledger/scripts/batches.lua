-- flags: no-writes
-- Reads the progress of many batches in one step.
--
-- KEYS    none: they follow from the ids (the ledger lives on one node)
-- ARGV    1 options (JSON): none
--         2… batch ids
-- returns of each batch its fields (name, value; flat); of one that is not known none
local found = {}
for index = 2, #ARGV do
  found[#found + 1] = redis.call('HGETALL', BATCH .. ARGV[index])
end
return found
