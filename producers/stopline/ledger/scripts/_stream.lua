-- requires: clock commit fields sinks
-- Outcomes as they come, for those who follow them and for sinks. Nothing goes before every sink has it,
-- unless sinks are away for so long that the stream reaches its cap: that is counted.
--
-- OUTCOMES  stream: one entry an outcome
local streamed = 0
-- Trimming is looked at once for so many.
local TRIM_EVERY = 128

local function stream(document)
  if not (options.outcomes_max or sinks_text) then return end
  redis.call('XADD', OUTCOMES, '*', 'outcome', document)
  streamed = streamed + 1
end

local function is_before(one, other)
  local ms, number = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_number = string.match(other, '^(%d+)-(%d+)$')
  if ms ~= other_ms then return tonumber(ms) < tonumber(other_ms) end
  return tonumber(number) < tonumber(other_number)
end

-- The groups of the stream by their names; one that a sink has lost (somebody emptied the server) begins
-- anew with what there is.
local function groups_of_sinks()
  local found, wanted = {}, {}
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', OUTCOMES)) do
    local group = fields_of(flat)
    found[group.name] = group
  end
  for _, name in ipairs(names_of_sinks()) do
    if not found[name] then
      redis.call('XGROUP', 'CREATE', OUTCOMES, name, '0')
      found[name] = {name = name, pending = 0, ['last-delivered-id'] = '0-0'}
    end
    wanted[#wanted + 1] = found[name]
  end
  return wanted
end

-- The first entry that some sink does not have yet, as far as that is known, and how many follow the
-- last that all of them were given (nil: unknown, or some was given and not acknowledged).
local function slowest()
  local first, unread = nil, 0
  for _, group in ipairs(groups_of_sinks()) do
    local at = group['last-delivered-id']
    if group.pending > 0 then at, unread = redis.call('XPENDING', OUTCOMES, group.name)[2], nil end
    unread = unread and type(group.lag) == 'number' and math.max(unread, group.lag) or nil
    if not first or is_before(at, first) then first = at end
  end
  return first, unread
end

local function trim(length)
  local first, unread = slowest()
  if unread then
    redis.call('XTRIM', OUTCOMES, 'MAXLEN', '~', math.max(options.outcomes_max or 0, unread))
  elseif first and length > 2 * (options.outcomes_max or 0) then
    redis.call('XTRIM', OUTCOMES, 'MINID', '~', first)
  end
  local cap = tonumber(string.match(sinks_text, '^%d+'))
  if redis.call('XLEN', OUTCOMES) <= cap then return end
  local gone = redis.call('XTRIM', OUTCOMES, 'MAXLEN', '~', cap)
  if gone > 0 then redis.call('HINCRBY', COUNTS, 'outcomes_dropped', gone) end
end

at_commit(function()
  if streamed == 0 then return end
  local length = redis.call('XLEN', OUTCOMES)
  local is_time = length > (options.outcomes_max or 0) and length % TRIM_EVERY < streamed
  if sinks_text then
    redis.call('PERSIST', OUTCOMES) -- workers of before let it expire
    if is_time then trim(length) end
    return
  end
  if is_time then redis.call('XTRIM', OUTCOMES, 'MAXLEN', '~', options.outcomes_max) end
  redis.call('EXPIRE', OUTCOMES, math.max(options.result_ttl_s, options.dead_letter_ttl_s))
end)
