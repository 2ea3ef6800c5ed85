-- requires: clock
-- Writes down that a process lives, and when it last did what it is for.
--
-- KEYS    none: the index and the heartbeats are fixed names
-- ARGV    1 options (JSON): heartbeat_ttl_s
--         2 process id, 3 what the process says of itself, as JSON members
--         4… name of a moment, microseconds since then; for each moment
-- returns nothing
local moments = {}
for index = 4, #ARGV, 2 do
  moments[#moments + 1] = ',"' .. ARGV[index] .. '":"' .. rfc3339(now - tonumber(ARGV[index + 1])) .. '"'
end
redis.call('SET', HEARTBEAT .. ARGV[2],
  '{"process_id":"' .. ARGV[2] .. '","beat_at":"' .. rfc3339(now) .. '",' .. ARGV[3]
    .. table.concat(moments) .. '}',
  'EX', options.heartbeat_ttl_s)
redis.call('ZREMRANGEBYSCORE', PROCESSES, '-inf', string.format('%d', now - options.heartbeat_ttl_s * 1000000))
redis.call('ZADD', PROCESSES, string.format('%d', now), ARGV[2])
redis.call('EXPIRE', PROCESSES, options.heartbeat_ttl_s)
