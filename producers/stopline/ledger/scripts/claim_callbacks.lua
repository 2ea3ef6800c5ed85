-- requires: text clock callbacks
-- flags: allow-oom
-- Gives out callbacks that are to be sent now; they come again when the lease is over.
--
-- KEYS    none: they follow from the ids
-- ARGV    1 options (JSON): dead_letter_ttl_s, lease_us, limit, result_ttl_s
--         limit: at most so many
-- returns of each (flat) id, attempts, when it was to be sent first, the callback as JSON
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', CALLBACKS, '-inf', whole(now), 'LIMIT', 0, options.limit)) do
  local callback = read_callback(id)
  if callback then
    wait_until(id, now + options.lease_us)
    local last = #found
    found[last + 1], found[last + 2] = id, whole(callback.attempts)
    found[last + 3], found[last + 4] = whole(callback.first_at), callback.document
  else
    redis.call('ZREM', CALLBACKS, id)
  end
end
return found
