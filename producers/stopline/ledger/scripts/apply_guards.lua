-- requires: clock commit audit durable
-- Puts other guards in the place of those that are there, if they are still those that somebody saw.
--
-- KEYS    none: the guards are a fixed name
-- ARGV    1 options (JSON): audit, audit_max, dead_letter_ttl_s, durable, result_ttl_s
--         2 the guards that are to be there now (JSON), 3 those that were seen, or ''
-- returns 1 where they were put in, 0 where others were there meanwhile
if (guards_text or '') ~= ARGV[3] then return 0 end
if ARGV[2] == '[]' then
  redis.call('DEL', GUARDS)
else
  redis.call('SET', GUARDS, ARGV[2])
end
local kept = {}
for _, guard in ipairs(cjson.decode(ARGV[2])) do
  kept[guard.source] = true
  -- What waited for a canary that is no more is let go by a person.
  if not guard.canary then redis.call('HDEL', GUARD .. guard.source, 'canary', 'went', 'done', 'failed') end
end
for _, guard in ipairs(cjson.decode(guards_text or '[]')) do
  if not kept[guard.source] then redis.call('DEL', GUARD .. guard.source, PASSED .. guard.source) end
end
audit(1)
commit()
return 1
