-- requires: quarantine audit outcome
-- flags: allow-oom
-- Drops dead letters and quarantined messages from the index. An outcome stays readable under
-- its id until its time is over; a message is gone.
--
-- KEYS    none: the index and the messages are fixed names
-- ARGV    1 options (JSON): audit, audit_max
--         2… ids
-- returns '1' for each id that was in the index, else ''
local results, named = {}, {}

local function name(id)
  local outcome = options.audit and #named < TARGETS_NAMED_MAX and read_outcome(id)
  if outcome then named[#named + 1] = target_of(outcome) end
end

for index = 2, #ARGV do
  local removed = redis.call('ZREM', DEAD, ARGV[index]) == 1
  if redis.call('DEL', MESSAGE .. ARGV[index]) == 1 then
    release_body(ARGV[index])
    redis.call('ZREM', MESSAGES, ARGV[index])
  end
  if removed then name(ARGV[index]) end
  results[#results + 1] = removed and '1' or ''
end
audit(1, 'targets', table.concat(named, ' '))
return results
