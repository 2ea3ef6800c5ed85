-- flags: allow-oom
-- Takes back the heartbeat of a process that ends in order.
--
-- KEYS    none: the index and the heartbeats are fixed names
-- ARGV    1 options (JSON): none
--         2 process id
-- returns nothing
redis.call('DEL', HEARTBEAT .. ARGV[2])
redis.call('ZREM', PROCESSES, ARGV[2])
