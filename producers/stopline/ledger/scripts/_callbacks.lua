-- requires: text clock
-- Callbacks on their way: one outcome for one URL each.
--
-- CALLBACK   … id, string: a record of four lines: attempts, when it was to be sent first, what came of the
--            last attempt as a JSON string, and the callback as JSON; or 'done' for an hour after it was
-- CALLBACKS  sorted set: ids of those that wait, by when they are to be sent
-- UNTOLD     sorted set: ids of those that were given up, by when
-- GONE       sorted set: sources and URLs by when these answered 410: nothing of the source is sent there for
--            so long as dead letters are kept, or until somebody sends one again
local DONE_S = 3600

local function read_callback(id)
  local raw = redis.call('GET', CALLBACK .. id)
  if not raw or raw == 'done' then return nil end
  local attempts, first_at, said, document = string.match(raw, '^([^\n]*)\n([^\n]*)\n([^\n]*)\n(.*)$')
  return {attempts = tonumber(attempts), first_at = tonumber(first_at), said = said, document = document}
end

local function write_callback(id, callback)
  local raw = whole(callback.attempts) .. '\n' .. whole(callback.first_at) .. '\n' .. callback.said .. '\n'
    .. callback.document
  redis.call('SET', CALLBACK .. id, raw, 'EX', options.dead_letter_ttl_s)
end

-- Whose URL it is: what one sender's says of his is nobody else's.
local function subscriber_of(callback)
  local document = cjson.decode(callback.document)
  return document.source .. '\n' .. document.url
end

local function give_up(id, callback)
  write_callback(id, callback)
  redis.call('ZREM', CALLBACKS, id)
  redis.call('ZADD', UNTOLD, whole(now), id)
  redis.call('EXPIRE', UNTOLD, options.dead_letter_ttl_s)
  local old = now - options.dead_letter_ttl_s * 1000000
  redis.call('ZREMRANGEBYSCORE', UNTOLD, '-inf', whole(old))
end

local function is_gone(subscriber)
  local at = redis.call('ZSCORE', GONE, subscriber)
  return at and tonumber(at) > now - options.dead_letter_ttl_s * 1000000
end

local function note_gone(subscriber)
  redis.call('ZADD', GONE, whole(now), subscriber)
  redis.call('ZREMRANGEBYSCORE', GONE, '-inf', whole(now - options.dead_letter_ttl_s * 1000000))
  redis.call('EXPIRE', GONE, options.dead_letter_ttl_s)
end

local function wait_until(id, at)
  redis.call('EXPIRE', CALLBACK .. id, options.dead_letter_ttl_s)
  redis.call('ZADD', CALLBACKS, whole(at), id)
  redis.call('EXPIRE', CALLBACKS, options.dead_letter_ttl_s)
end
