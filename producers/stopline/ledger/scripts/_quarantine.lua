-- Messages that nobody could handle. Each is a text of three lines: what is known of it, as JSON; its
-- headers, as JSON; its body in base64. Headers and bodies together have a limit; beyond it the oldest
-- are cut to their first lines. Of more messages than a person could look at, the oldest go altogether.
--
-- MESSAGES   sorted set: ids of all messages, by when they came
-- BODIES     sorted set: ids of those that are whole
-- QUARANTINE hash: `<id>`: the bytes of its lines but the first; `bytes`: of all; `cut`, `dropped`: how many
--            bodies and messages went to make room
local MESSAGES_MAX, BODIES_BYTES_MAX = 5000, 16 * 1024 * 1024

-- A body is there no more: what it counted for is free.
local function release_body(id)
  local bytes = redis.call('HGET', QUARANTINE, id)
  if not bytes then return end
  redis.call('HDEL', QUARANTINE, id)
  redis.call('HINCRBY', QUARANTINE, 'bytes', -bytes)
  redis.call('ZREM', BODIES, id)
end
