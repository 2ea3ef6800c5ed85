-- requires: text clock commit replies places
-- What waits for its turn: the requests of a batch are not told to workers by messages that would fill a
-- broker, but lined up in its lane, from where sweeps take a piece of one batch after the other. The same
-- for a user's single requests where a lane's queue is long.
--
-- TURNS    … lane, list: whose requests wait there: b:batch or u:user, the next first
-- BACKLOG  … lane:whose, list: what waits, the first first: `first-last` places of the batch, or `=id`
-- BATCH    … batch, hash: while it has the field `paused`, the batch has no turns

-- Of a batch with so many entries waiting nobody needs to be told: they know.
local KNOWN_FROM = 16
-- With so many messages on a lane's queue, further requests wait in the ledger.
local QUEUE_MAX = 500
local lines, user_of, last_of = {}, {}, {}

local function line_of(lane, whose)
  local key = lane .. ':' .. whose
  if not lines[key] then
    local line = {lane = lane, whose = whose, not_after = now}
    lines[key], lines[#lines + 1] = line, line
  end
  return lines[key]
end

-- At the end of its line; places in a row are one entry.
local function line_up(line, place, id, not_after)
  local last = line[#line]
  if not place then
    line[#line + 1] = {id = id}
  elseif last and last.last == place - 1 then
    last.last = place
  else
    line[#line + 1] = {first = place, last = place}
  end
  line.not_after = math.max(line.not_after, not_after)
end

-- What was just accepted, where its workers would be told.
local function line_up_item(item)
  local row = #replies - 3
  if replies[row + 3] ~= '1' then return end
  local id, lane = replies[row + 1], replies[row + 2]
  if not item.batch_id then
    user_of[id], last_of[id] = string.match(item.target, '^[^/]+'), item.not_after
    return
  end
  replies[row + 3] = ''
  local line = line_of(lane, 'b:' .. item.batch_id)
  line_up(line, item.place, id, item.not_after)
  line.row = line.row or row + 3
end

local function is_batch_paused(batch_id)
  return redis.call('HEXISTS', BATCH .. batch_id, 'paused') == 1
end

local function entry_text(entry)
  return entry.id and '=' .. entry.id or whole(entry.first) .. '-' .. whole(entry.last)
end

local function give_turns(lane, whose)
  if not redis.call('LPOS', TURNS .. lane, whose) then redis.call('RPUSH', TURNS .. lane, whose) end
end

-- Whoever it belongs to has turns from now on.
local function write_line(line)
  local key, entries, before = BACKLOG .. line.lane .. ':' .. line.whose, {}, nil
  for index, entry in ipairs(line) do
    entries[#entries + 1] = entry_text(entry)
    if #entries == 1000 or index == #line then
      local length = redis.call('RPUSH', key, unpack(entries))
      before = before or length - #entries
      entries = {}
    end
  end
  local seconds = options.result_ttl_s + math.max(0, math.ceil((line.not_after - now) / 1000000))
  keep(key, whole(seconds))
  local batch_id = string.match(line.whose, '^b:(.*)$')
  if batch_id and is_batch_paused(batch_id) then return end
  give_turns(line.lane, line.whose)
  keep(TURNS .. line.lane, whole(seconds))
  if line.row and before < KNOWN_FROM then replies[line.row] = '1' end
end

local function write_lines()
  for _, line in ipairs(lines) do write_line(line) end
  lines = {}
end

at_commit(write_lines)
