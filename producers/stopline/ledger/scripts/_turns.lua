-- requires: text places
-- Taking turns: a piece of one batch (or of one user's requests) after the other, of those that wait in a
-- lane (`_backlog.lua`).
local PIECE = 50

local function has_turns(lane)
  return redis.call('EXISTS', TURNS .. lane) == 1
end

-- The ids of some places of a batch: as many as wanted, of one chunk; and the last of these places.
local function ids_of_places(batch_id, first, last, wanted)
  local chunk = math.floor(first / PLACES_A_CHUNK)
  local key = BATCH .. batch_id .. ':' .. whole(chunk)
  local end_of_chunk = math.min(last, (chunk + 1) * PLACES_A_CHUNK - 1)
  if redis.call('EXISTS', key) == 0 then return {}, end_of_chunk end -- kept no more
  local upto = math.min(first + wanted - 1, end_of_chunk)
  local fields, ids = {}, {}
  for place = first, upto do fields[#fields + 1] = whole(place) end
  local found = redis.call('HMGET', key, unpack(fields))
  for index = 1, #fields do
    if found[index] then ids[#ids + 1] = string.match(found[index], '^%S+') end
  end
  return ids, upto
end

-- The first ids that wait in a line, at most as many as wanted, and what of their entry is left then.
local function look_at_line(key, whose, wanted)
  local entry = redis.call('LINDEX', key, 0)
  if not entry then return nil end
  local first, last = string.match(entry, '^(%d+)-(%d+)$')
  if not first then return {string.sub(entry, 2)} end
  local ids, upto = ids_of_places(string.sub(whose, 3), tonumber(first), tonumber(last), wanted)
  return ids, upto < tonumber(last) and whole(upto + 1) .. '-' .. last or nil
end

-- The ids of the next piece of a lane, at most as many as wanted; and how often was looked for them.
local function next_piece(lane, wanted)
  local whose = redis.call('LMOVE', TURNS .. lane, TURNS .. lane, 'LEFT', 'RIGHT')
  local key, piece = BACKLOG .. lane .. ':' .. whose, {}
  wanted = math.min(PIECE, wanted)
  local looks = 0
  while looks < wanted do
    looks = looks + 1
    local ids, rest = look_at_line(key, whose, wanted - #piece)
    if not ids then break end
    for _, id in ipairs(ids) do piece[#piece + 1] = id end
    if rest then redis.call('LSET', key, 0, rest) else redis.call('LPOP', key) end
    if #piece == wanted then break end
  end
  if redis.call('EXISTS', key) == 0 then redis.call('LREM', TURNS .. lane, 0, whose) end
  return piece, looks
end
