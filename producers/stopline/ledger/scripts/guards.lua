-- requires: text clock
-- flags: allow-oom
-- Reads the guards and their states. Where Redis is full somebody has to look, too.
--
-- KEYS    none: they follow from the guards (the ledger lives on one node)
-- ARGV    1 options (JSON): dead_letter_ttl_s, result_ttl_s
-- returns now, the guards (JSON) or '', for each (flat) its source, its state (field, value; flat), how
--         many requests it holds, when the oldest of them was accepted, or ''; those that hold some and
--         are no longer guards, too
local found, seen = {}, {}

local function add(source)
  if seen[source] then return end
  seen[source] = true
  found[#found + 1] = source
  found[#found + 1] = redis.call('HGETALL', GUARD .. source)
  found[#found + 1] = redis.call('ZCARD', HELD .. source)
  found[#found + 1] = redis.call('ZRANGE', HELD .. source, 0, 0, 'WITHSCORES')[2] or ''
end

for _, guard in ipairs(cjson.decode(guards_text or '[]')) do add(guard.source) end
for _, source in ipairs(redis.call('SMEMBERS', HOLDING)) do
  if redis.call('EXISTS', HELD .. source) == 1 then add(source) end
end
return {whole(now), guards_text or '', found}
