-- requires: text clock commit gate audit
-- flags: allow-oom
-- Pauses a lane for a time, or lets it go on. Its requests wait where they stand.
--
-- KEYS    none: the gate is a fixed name
-- ARGV    1 options (JSON): audit, audit_max, dead_letter_ttl_s, result_ttl_s
--         2 lane, 3 microseconds for which it is paused, none to let it go on, 4 who and why as JSON members
-- returns now, and 1 where that lane was paused before, else 0
local lane, lasts = ARGV[2], tonumber(ARGV[3])
local was_paused = paused_until(lane) > now

local rest = {}
for other, at in string.gmatch(gate.paused or '', '(%a+)=(%d+)') do
  if other ~= lane and tonumber(at) > now then rest[#rest + 1] = other .. '=' .. at end
end
if lasts > 0 then
  rest[#rest + 1] = lane .. '=' .. whole(now + lasts)
  redis.call('HSET', PAUSES, lane, '{"lane":"' .. lane .. '",' .. ARGV[4] .. ',"at":"' .. rfc3339(now)
    .. '","until":"' .. rfc3339(now + lasts) .. '"}')
else
  redis.call('HDEL', PAUSES, lane)
end
gate.paused, gate_changed = #rest > 0 and table.concat(rest, ',') or nil, true
if #rest > 0 then redis.call('EXPIRE', PAUSES, gate_ttl_s()) end
audit(1)
commit()
return {whole(now), was_paused and 1 or 0}
