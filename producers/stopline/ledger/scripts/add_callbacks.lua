-- requires: clock callbacks
-- Takes callbacks in, each once: one that waits, or was sent in the last hour, stays as it is.
--
-- KEYS    none: they follow from the ids
-- ARGV    1 options (JSON): dead_letter_ttl_s, result_ttl_s
--         2… for each callback its id, and the callback as JSON
-- returns how many are new
local new = 0
for index = 2, #ARGV, 2 do
  local id, document = ARGV[index], ARGV[index + 1]
  if redis.call('EXISTS', CALLBACK .. id) == 0 then
    local callback = {attempts = 0, first_at = now, said = '', document = document}
    new = new + 1
    if is_gone(subscriber_of(callback)) then
      callback.said = '"the URL answered 410 (gone) before"'
      give_up(id, callback)
    else
      write_callback(id, callback)
      wait_until(id, now)
    end
  end
end
return new
