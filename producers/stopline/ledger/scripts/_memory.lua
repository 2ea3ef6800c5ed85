-- How full the server is. Above this share of maxmemory nothing new is taken in: open requests need
-- the rest to settle.
local MEMORY_SHARE = 0.9

-- Bytes in use, and maxmemory (0: none). Servers before 7, and those that keep INFO from this user,
-- cannot say; then OOM says it.
local function memory()
  local info = redis.pcall('INFO', 'memory')
  if type(info) ~= 'string' then return nil, 0 end
  return tonumber(string.match(info, 'used_memory:(%d+)')) or 0,
    tonumber(string.match(info, 'maxmemory:(%d+)')) or 0
end

local function memory_is_short()
  local used, limit = memory()
  return limit > 0 and used > limit * MEMORY_SHARE
end
