-- requires: text clock dead memory quarantine
-- flags: allow-oom
-- Keeps a queue message that no worker can handle, within the limits of _quarantine.lua. It may write
-- although Redis is full: what was taken off its queue is nowhere else. Where memory is short, only
-- the first line is kept, and nothing else has to go for it.
--
-- KEYS    none: the index and the messages are fixed names
-- ARGV    1 options (JSON): dead_letter_ttl_s, result_ttl_s
--         2 message id, 3 what is known of the message, its id included, as JSON members
--         4 its headers as JSON, a line break, its body in base64
-- returns how many messages were cut, and how many dropped, to make room for it; a message without
--         room for its own body counts as one that was cut
local cut, dropped = 0, 0

local function cut_body(id)
  local kept = redis.call('GET', MESSAGE .. id)
  release_body(id)
  if kept then
    redis.call('SET', MESSAGE .. id, string.match(kept, '^[^\n]*'), 'KEEPTTL')
    cut = cut + 1
  end
end

local function drop(id)
  release_body(id)
  redis.call('DEL', MESSAGE .. id)
  redis.call('ZREM', DEAD, id)
  redis.call('ZREM', MESSAGES, id)
  dropped = dropped + 1
end

-- Those whose time is over went by themselves; here they are still counted.
local function forget_expired()
  local before = whole(now - options.dead_letter_ttl_s * 1000000)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', MESSAGES, '-inf', before)) do release_body(id) end
  redis.call('ZREMRANGEBYSCORE', MESSAGES, '-inf', before)
end

local function make_room(bytes)
  while tonumber(redis.call('HGET', QUARANTINE, 'bytes') or 0) + bytes > BODIES_BYTES_MAX do
    local oldest = redis.call('ZRANGE', BODIES, 0, 0)[1]
    if not oldest then break end
    cut_body(oldest)
  end
end

local function keep(id, members, rest)
  release_body(id) -- where this is a repetition
  local text = '{' .. members .. ',"quarantined_at":"' .. rfc3339(now) .. '"}'
  if rest then
    text = text .. '\n' .. rest
    redis.call('ZADD', BODIES, whole(now), id)
    redis.call('HSET', QUARANTINE, id, #rest)
    redis.call('HINCRBY', QUARANTINE, 'bytes', #rest)
  else
    cut = cut + 1
  end
  redis.call('SET', MESSAGE .. id, text, 'EX', options.dead_letter_ttl_s)
  redis.call('ZADD', MESSAGES, whole(now), id)
  bury(id)
end

forget_expired()
while redis.call('ZCARD', MESSAGES) >= MESSAGES_MAX do
  drop(redis.call('ZRANGE', MESSAGES, 0, 0)[1])
end
if memory_is_short() then
  keep(ARGV[2], ARGV[3])
else
  make_room(#ARGV[4])
  keep(ARGV[2], ARGV[3], ARGV[4])
end
if cut > 0 then redis.call('HINCRBY', QUARANTINE, 'cut', cut) end
if dropped > 0 then redis.call('HINCRBY', QUARANTINE, 'dropped', dropped) end
for _, key in ipairs({MESSAGES, BODIES, QUARANTINE}) do
  redis.call('EXPIRE', key, options.dead_letter_ttl_s)
end
return {cut, dropped}
