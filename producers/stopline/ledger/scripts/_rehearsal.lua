-- Nothing is written: the parts that follow have this in the place of `redis`. What they read is what is
-- there, but for the turns that guards count: of those that went before in the same rehearsal too.
local server = redis
local passed = {}
local WRITES = {
  SET = true, DEL = true, EXPIRE = true, PEXPIRE = true, PUBLISH = true, ZADD = true, ZREM = true,
  HSET = true, HSETNX = true, HINCRBY = true, HDEL = true, SADD = true, SREM = true, XADD = true,
  LTRIM = true,
}

local function call(command, ...)
  if WRITES[command] then return 0 end
  local key, rank = ...
  if command == 'LPUSH' then
    passed[key] = (passed[key] or 0) + 1
    return passed[key]
  elseif command == 'LINDEX' then
    rank = rank - (passed[key] or 0)
    return rank < 0 and tostring(math.huge) or server.call(command, key, rank)
  end
  return server.call(command, ...)
end

local redis = {call = call, pcall = server.pcall}
