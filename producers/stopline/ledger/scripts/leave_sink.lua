-- requires: fields
-- flags: allow-oom
-- A reader of a sink reads no more. What it was given and has not acknowledged goes to another reader, so it
-- is forgotten only once there is nothing of that; and with it those that ended without a word.
--
-- KEYS    none: the stream is a fixed name
-- ARGV    1 options (JSON): none
--         2 the group's name, 3 the reader's
-- returns how many readers were forgotten
local SILENT_MS = 3600000
local count = 0
local readers = redis.pcall('XINFO', 'CONSUMERS', OUTCOMES, ARGV[2])
if readers.err then return 0 end
for _, flat in ipairs(readers) do
  local reader = fields_of(flat)
  if reader.pending == 0 and (reader.name == ARGV[3] or reader.idle > SILENT_MS) then
    redis.call('XGROUP', 'DELCONSUMER', OUTCOMES, ARGV[2], reader.name)
    count = count + 1
  end
end
return count
