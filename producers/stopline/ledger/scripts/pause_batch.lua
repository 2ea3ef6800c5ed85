-- requires: text clock commit audit durable turns backlog lanes places
-- flags: allow-oom
-- Lets a batch wait, or go on. Its requests wait in their lines, and expire in time.
--
-- KEYS    none: they follow from the batch (the ledger lives on one node)
-- ARGV    1 options (JSON): audit, audit_max, counts, dead_letter_ttl_s, durable, result_ttl_s
--         2 batch, 3 who and why as JSON members, '' to let it go on
-- returns now, '' where there is no such batch, else '1' where it was paused before or '0',
--         what workers are to be told (id, lane; flat): the first that waits in each lane
local batch_id, known = ARGV[2], ARGV[3]
local key, whose, told = BATCH .. batch_id, 'b:' .. ARGV[2], {}

local function pause()
  redis.call('HSET', key, 'paused', '{' .. known .. ',"at":"' .. rfc3339(now) .. '"}')
  redis.call('EXPIRE', key, options.result_ttl_s)
  for lane in pairs(URGENCY) do redis.call('LREM', TURNS .. lane, 0, whose) end
end

local function go_on()
  redis.call('HDEL', key, 'paused')
  for lane in pairs(URGENCY) do
    local line = BACKLOG .. lane .. ':' .. whose
    local ids = look_at_line(line, whose, 1)
    if ids then
      give_turns(lane, whose)
      keep(TURNS .. lane, whole(math.max(1, redis.call('TTL', line))))
    end
    if ids and ids[1] then told[#told + 1], told[#told + 2] = ids[1], lane end
  end
end

if redis.call('EXISTS', key) == 0 then return {whole(now), '', told} end
local was_paused = is_batch_paused(batch_id)
if known == '' then go_on() else pause() end
audit(1)
commit()
return {whole(now), was_paused and '1' or '0', told}
