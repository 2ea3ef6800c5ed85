-- requires: clock callbacks
-- flags: allow-oom
-- Writes down what came of sending callbacks.
--
-- KEYS    none: they follow from the ids
-- ARGV    1 options (JSON): dead_letter_ttl_s, result_ttl_s
--         2… for each callback: id, what follows, microseconds, what came of it as a JSON string; where
--         what follows is
--           done     it was delivered
--           again    it is sent again after so long
--           later    the same, and it was not sent
--           dead     it is given up
--           gone     the same, and nothing is sent to its URL any more
-- returns how many there were still
local count = 0

local function settle(id, callback, follows, delay, said)
  if follows == 'done' then
    redis.call('ZREM', CALLBACKS, id)
    redis.call('SET', CALLBACK .. id, 'done', 'EX', DONE_S)
    return
  end
  if follows == 'later' then return wait_until(id, now + delay) end
  callback.attempts, callback.said = callback.attempts + 1, said
  if follows == 'again' then
    write_callback(id, callback)
    return wait_until(id, now + delay)
  end
  if follows == 'gone' then note_gone(subscriber_of(callback)) end
  give_up(id, callback)
end

for index = 2, #ARGV, 4 do
  local id = ARGV[index]
  local callback = read_callback(id)
  if callback and redis.call('ZSCORE', CALLBACKS, id) then
    count = count + 1
    settle(id, callback, ARGV[index + 1], tonumber(ARGV[index + 2]), ARGV[index + 3])
  end
end
return count
