-- requires: layouts
-- flags: no-writes
-- Finds open requests of a lane, in the order in which they are due. It looks at so many and no more:
-- who wants further ones calls again from where this ended. What is due at another time meanwhile is
-- met twice, or not at all.
--
-- KEYS    none: they follow from the lane (the ledger lives on one node)
-- ARGV    1 options (JSON): limit, look_max, state, target, task, source, batch
--           limit: of requests found; look_max: of requests looked at; the others are what is wanted, and
--           left out where it does not matter. target: with a slash at its end also those it is the
--           beginning of; task: the second part of one; source: the JSON member that names it
--         2 lane
--         3 score of the last one that was looked at, 4 its id; or ''
-- returns id and record of each that was found (flat), how many were looked at, score and id of the last,
--         or '' where there are no more
local due = DUE .. ARGV[2]

-- The rank from which to go on. Where the last one is no longer there, from all with its score on, of
-- which those up to its id were looked at: leases of one claim all end in one moment.
local function first_rank()
  if ARGV[4] == '' then return 0 end
  local rank, score = redis.call('ZRANK', due, ARGV[4]), redis.call('ZSCORE', due, ARGV[4])
  if rank and tonumber(score) == tonumber(ARGV[3]) then return rank + 1 end
  return redis.call('ZCOUNT', due, '-inf', '(' .. ARGV[3])
end

local function was_looked_at(id, score)
  return ARGV[4] ~= '' and tonumber(score) == tonumber(ARGV[3]) and id <= ARGV[4]
end

local function is_target(target)
  local wanted = options.target
  if string.sub(wanted, -1) == '/' then return string.sub(target .. '/', 1, #wanted) == wanted end
  return target == wanted
end

-- A quick look at the text first: most are not what is wanted, and taking one apart costs three times
-- as much as all the rest.
local signs = {}
if options.source then signs[#signs + 1] = options.source end
if options.batch then signs[#signs + 1] = options.batch .. '=' end
if options.task then signs[#signs + 1] = '/' .. options.task end
if options.target then signs[#signs + 1] = '\n' .. string.gsub(options.target, '/$', '') end
local state = options.state and options.state .. '\n'

local function may_be_wanted(raw)
  if state and string.sub(raw, 1, #state) ~= state then return false end
  for _, sign in ipairs(signs) do
    if not string.find(raw, sign, 1, true) then return false end
  end
  return true
end

local function is_wanted(request)
  return not (options.state and request.state ~= options.state)
    and not (options.target and not is_target(request.target))
    and not (options.task and string.match(request.target, '^[^/]+/([^/]+)') ~= options.task)
    and not (options.batch and not string.find(
      ',' .. (request.batches or ''), ',' .. options.batch .. '=', 1, true))
end

local found, looked, last_score, last_id = {}, 0, '', ''
local rank = first_rank()
local ids = redis.call('ZRANGE', due, rank, rank + options.look_max - 1, 'WITHSCORES')
for index = 1, #ids, 2 do
  looked, last_id, last_score = looked + 1, ids[index], ids[index + 1]
  local raw = not was_looked_at(last_id, last_score) and redis.call('GET', RECORD .. last_id)
  if raw and may_be_wanted(raw) and is_wanted(decode_record(raw)) then
    found[#found + 1], found[#found + 2] = last_id, raw
  end
  if #found >= 2 * options.limit then break end
end
if looked * 2 == #ids and looked < options.look_max then last_score, last_id = '', '' end
return {found, looked, last_score, last_id}
