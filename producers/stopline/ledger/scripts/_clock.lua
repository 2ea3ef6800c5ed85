-- The one clock, in microseconds. It is the server's, except that it never goes back: `now` is later
-- in each script than in the one before, whatever NTP, a restored machine or a failover do to the
-- server. After a step back it goes at half speed until the server has caught up, so that leases and
-- deadlines still end, and nobody waits for the hour to come again.
--
-- CLOCK holds, with blanks between: what it gave last; the server's time then; how far it was ahead
-- after a step back, at the most; and when the server had caught up, by its own clock (0: not yet, or
-- there was no step).

local server_now, now, stepped, caught_up
-- Read with it, so that it costs nothing where there is none: the guards (`_guards.lua`), and who must
-- have all outcomes (`_stream.lua`).
local guards_text, sinks_text
do
  local time = redis.call('TIME')
  server_now = tonumber(time[1]) * 1000000 + tonumber(time[2])
  local clock
  clock, guards_text, sinks_text = unpack(redis.call('MGET', CLOCK, GUARDS, SINKS))
  guards_text, sinks_text = guards_text or nil, sinks_text or nil
  local given, at, by, whole_again = string.match(clock or '',
    '^(%d+) (%d+) (%d+) (%d+)$')
  local passed = server_now - (tonumber(at) or server_now)
  -- Rounded up: `by_ledger` may take a moment as later than it was, never as earlier.
  now = math.max(server_now, (tonumber(given) or 0) + math.max(1, math.ceil(passed / 2)))
  stepped, caught_up = tonumber(by) or 0, tonumber(whole_again) or 0
  if passed < 0 then
    stepped, caught_up = math.max(stepped, now - server_now), 0
  elseif stepped > 0 and caught_up == 0 and now == server_now then
    caught_up = server_now
  end
  redis.call('SET', CLOCK,
    string.format('%d %d %d %d', now, server_now, stepped, caught_up),
    'EX', math.max(options.result_ttl_s, options.dead_letter_ttl_s))
end

-- A moment that came from outside is by the server's clock; this is when it is by the ledger's. What
-- lies before a step back, or before the server had caught up, can only be bounded: it is taken as late
-- as it may have been, since a wish that counts as later is called for once more, and one that counts
-- as earlier may be swallowed.
local function by_ledger(moment)
  local halved = now + math.floor((moment - server_now) / 2)
  if moment >= server_now then return math.max(moment, halved) end
  if stepped == 0 then return moment end
  if caught_up == 0 then return math.min(moment + stepped, halved) end
  return math.max(moment, math.min(moment + stepped, caught_up))
end

-- The date of a day, counted from 1970-01-01, in the proleptic Gregorian calendar:
-- https://howardhinnant.github.io/date_algorithms.html#civil_from_days
local function date_of(day)
  local shifted = day + 719468
  local era = math.floor(shifted / 146097)
  local day_of_era = shifted - era * 146097
  local year_of_era = math.floor((day_of_era - math.floor(day_of_era / 1460)
    + math.floor(day_of_era / 36524) - math.floor(day_of_era / 146096)) / 365)
  local day_of_year = day_of_era - (365 * year_of_era + math.floor(year_of_era / 4)
    - math.floor(year_of_era / 100))
  local month_from_march = math.floor((5 * day_of_year + 2) / 153)
  local day_of_month = day_of_year - math.floor((153 * month_from_march + 2) / 5) + 1
  local month = month_from_march < 10 and month_from_march + 3 or month_from_march - 9
  local year = year_of_era + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02d', year, month, day_of_month)
end

local dates, moments = {}, {}

-- Microseconds as RFC 3339, UTC, milliseconds: 2026-11-22T16:47:14.123Z
-- One script writes few different moments many times: they are remembered.
local function rfc3339(at)
  local moment = moments[at]
  if moment then return moment end
  local seconds = math.floor(at / 1000000)
  local day = math.floor(seconds / 86400)
  local date = dates[day]
  if not date then
    date = date_of(day)
    dates[day] = date
  end
  local rest = seconds - day * 86400
  moment = string.format('%sT%02d:%02d:%02d.%03dZ', date, math.floor(rest / 3600),
    math.floor(rest / 60) % 60, rest % 60, math.floor((at - seconds * 1000000) / 1000))
  moments[at] = moment
  return moment
end
