-- requires: clock sinks
-- flags: allow-oom
-- Forgets a consumer group: nobody keeps outcomes for it any more.
--
-- KEYS    none: the stream is a fixed name
-- ARGV    1 options (JSON): dead_letter_ttl_s, result_ttl_s
--         2 the group's name
-- returns 1 where there was one, else 0
local names, was_there = {}, 0
for _, name in ipairs(names_of_sinks()) do
  if name == ARGV[2] then was_there = 1 else names[#names + 1] = name end
end
if #names > 0 then
  redis.call('SET', SINKS, string.match(sinks_text, '^%d+') .. '\n' .. table.concat(names, '\n'))
else
  redis.call('DEL', SINKS)
end
if redis.call('EXISTS', OUTCOMES) == 1 then
  redis.call('XGROUP', 'DESTROY', OUTCOMES, ARGV[2])
  if #names == 0 then
    redis.call('EXPIRE', OUTCOMES, math.max(options.result_ttl_s, options.dead_letter_ttl_s))
  end
end
return was_there
