-- requires: clock record target commit finish memory durable audit
-- flags: allow-oom
-- Learns that somebody resumed a target: what was issued before is superseded, unless its call
-- is in flight (then no further one begins; `ending` in _attempt.lua).
--
-- KEYS    none: they follow from the target (the ledger lives on one node)
-- ARGV    1 options (JSON): audit, audit_max, counts, dead_letter_ttl_s, deadline_us, durable,
--           look_again_us, outcomes_max, recent_max, result_ttl_s
--         2 target digest, 3 when it was resumed (microseconds), or '' for now; never later than now
-- returns superseded ids, the id in flight or '', promoted (id, lane; flat); or 'ahead' where it was
--         resumed in the future: then nothing changed
-- Clocks differ by so much, and by what the server's was put back. What is said to happen later would
-- count as of now each time it is told.
local AHEAD_MAX_US = 5 * 60 * 1000000
if (tonumber(ARGV[3]) or 0) > now + stepped + AHEAD_MAX_US then return {'ahead'} end

local target = load_target(ARGV[2])
-- It may write although Redis is full, since what it supersedes makes room; but only where there is
-- something to supersede.
if not (target.active or target.next or target.held) and memory_is_short() then
  return redis.error_reply('OOM a resume without an open request, and Redis is close to its maxmemory')
end
local at = ARGV[3] == '' and now or math.min(by_ledger(tonumber(ARGV[3])), now)
local superseded, in_flight = {}, ''

target.resumed_at = math.max(target.resumed_at or at, at)
save_target(target)
-- The next one first, so that it is not promoted only to be superseded.
for _, id in ipairs({target.held or '', target.next or '', target.active or ''}) do
  local request = load_record(id)
  if request and request.wish_at <= at then
    if call_in_flight(request) then
      in_flight = id
    else
      finish_on_target(request, target, 'superseded', SUPERSEDED)
      superseded[#superseded + 1] = id
    end
  end
end
audit(1)
commit()
return {superseded, in_flight, promoted}
