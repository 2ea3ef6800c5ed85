-- requires: sinks
-- flags: allow-oom
-- Names a consumer group that is to have every outcome, from the first that is kept on.
--
-- KEYS    none: the stream is a fixed name
-- ARGV    1 options (JSON): dead_letter_ttl_s, result_ttl_s
--         2 the group's name, 3 how long the stream may get while it is away
-- returns 1 where it is new, else 0
local names, is_new = names_of_sinks(), 1
for _, name in ipairs(names) do
  if name == ARGV[2] then is_new = 0 end
end
if is_new == 1 then names[#names + 1] = ARGV[2] end
redis.call('SET', SINKS, ARGV[3] .. '\n' .. table.concat(names, '\n'))
local reply = redis.pcall('XGROUP', 'CREATE', OUTCOMES, ARGV[2], '0', 'MKSTREAM')
if type(reply) == 'table' and reply.err and not string.find(reply.err, 'BUSYGROUP', 1, true) then
  return reply
end
redis.call('PERSIST', OUTCOMES)
return is_new
