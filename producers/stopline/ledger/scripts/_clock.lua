-- The one clock: the server's, in microseconds, read once a script.
local now
do
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
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
