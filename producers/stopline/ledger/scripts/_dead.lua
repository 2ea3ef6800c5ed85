-- requires: text clock
-- The index of dead letters, by when they died; what is over is dropped on the way.

local function bury(id)
  redis.call('ZREMRANGEBYSCORE', DEAD, '-inf', whole(now - options.dead_letter_ttl_s * 1000000))
  redis.call('ZADD', DEAD, whole(now), id)
  redis.call('EXPIRE', DEAD, options.dead_letter_ttl_s)
end
