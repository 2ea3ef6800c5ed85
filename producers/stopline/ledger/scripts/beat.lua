-- requires: text clock
-- flags: allow-oom
-- Writes down that a process lives, and when it last did what it is for. May write although Redis is
-- full: each process has one, and without it a full Redis would look like dead workers.
--
-- KEYS    none: the index and the heartbeats are fixed names
-- ARGV    1 options (JSON): counts, dead_letter_ttl_s, heartbeat_ttl_s, result_ttl_s
--         2 process id, 3 what the process says of itself, its id included, as JSON members
--         4… name of a moment, microseconds since then; for each moment
-- returns nothing
local moments = {}
for index = 4, #ARGV, 2 do
  moments[#moments + 1] = ',"' .. ARGV[index] .. '":"' .. rfc3339(now - tonumber(ARGV[index + 1])) .. '"'
end
redis.call('SET', HEARTBEAT .. ARGV[2],
  '{' .. ARGV[3] .. ',"beat_at":"' .. rfc3339(now) .. '"' .. table.concat(moments) .. '}',
  'EX', options.heartbeat_ttl_s)
redis.call('ZREMRANGEBYSCORE', PROCESSES, '-inf', whole(now - options.heartbeat_ttl_s * 1000000))
redis.call('ZADD', PROCESSES, whole(now), ARGV[2])
redis.call('EXPIRE', PROCESSES, options.heartbeat_ttl_s)

-- The counters as they are each minute of a day, so that what was is known after a restart, too.
local MINUTES_MAX = 1440
if options.counts and redis.call('SET', MINUTE, '1', 'NX', 'EX', 60) then
  local counts = redis.call('HGETALL', COUNTS)
  if #counts > 0 then
    redis.call('XADD', HISTORY, 'MAXLEN', '~', MINUTES_MAX, '*', 'at', whole(now), unpack(counts))
    redis.call('EXPIRE', HISTORY, options.result_ttl_s)
  end
end
