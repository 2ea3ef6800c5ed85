-- flags: allow-oom
-- Keeps a value of a service for a while. It may write although Redis is full: who wants to cancel has to
-- log in.
--
-- KEYS    none: the values' prefix is a fixed name
-- ARGV    1 options (JSON): none
--         2 name, 3 value, 4 seconds
-- returns nothing
redis.call('SET', VALUE .. ARGV[2], ARGV[3], 'EX', ARGV[4])
