-- requires: text clock
-- flags: allow-oom
-- A rate with a burst, for callers by name: the generic cell rate algorithm (ITU-T I.371), in whole
-- microseconds. It may write although Redis is full: what cancels makes room. What is kept is when the next call would be due if all came at the rate.
--
-- KEYS    none: the rates' prefix is a fixed name
-- ARGV    1 options (JSON): dead_letter_ttl_s, result_ttl_s
--         2 name, 3 microseconds from one call to the next at that rate, 4 how many may come at once,
--         5 how many are wanted
-- returns how many are granted, and in how many microseconds one more would be
local key, interval, wanted = RATE .. ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[5])
local horizon = now + tonumber(ARGV[4]) * interval
local due = math.max(tonumber(redis.call('GET', key) or 0), now)
local granted = math.max(0, math.min(wanted, math.floor((horizon - due) / interval)))
if granted > 0 then
  due = due + granted * interval
  redis.call('SET', key, whole(due), 'PX', math.ceil((due - now) / 1000))
end
return {granted, math.max(0, due + interval - horizon)}
