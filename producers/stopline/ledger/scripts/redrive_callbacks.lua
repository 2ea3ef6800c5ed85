-- requires: clock callbacks
-- flags: allow-oom
-- Sends callbacks again that were given up, or drops them. A URL that was gone is tried again.
--
-- KEYS    none: they follow from the ids
-- ARGV    1 options (JSON): dead_letter_ttl_s, result_ttl_s
--         2 '1' where they are dropped
--         3… ids
-- returns for each 1 where it was one, else 0
local results = {}
local drops = ARGV[2] == '1'
for index = 3, #ARGV do
  local id = ARGV[index]
  local callback = redis.call('ZREM', UNTOLD, id) == 1 and read_callback(id)
  if callback and drops then
    redis.call('DEL', CALLBACK .. id)
  elseif callback then
    redis.call('ZREM', GONE, subscriber_of(callback))
    callback.attempts, callback.first_at = 0, now
    write_callback(id, callback)
    wait_until(id, now)
  end
  results[#results + 1] = callback and 1 or 0
end
return results
