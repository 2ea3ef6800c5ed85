-- flags: allow-oom
-- A worker begins to work on this ledger: it is from now on of the worker's format, or stays of a later one.
--
-- KEYS    none: the format is a fixed name
-- ARGV    1 options (JSON): none
--         2 the format that the worker writes
-- returns the ledger's format before; 0: nobody has written one
local found = tonumber(redis.call('GET', FORMAT) or '0')
if found < tonumber(ARGV[2]) then redis.call('SET', FORMAT, ARGV[2]) end
return found
