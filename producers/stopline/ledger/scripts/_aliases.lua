-- Ids of senders that know no other: they get the outcome of the request that they follow.
local ALIASES_MAX = 1000

local function aliases_are_full(request)
  local _, aliases = string.gsub(request.aliases or '', '[^,]+', '')
  return aliases >= ALIASES_MAX
end

-- A sender that knows only its own Celery id gets the outcome under that id too.
local function add_alias(item, request)
  if not item.alias or item.id == request.id then return end
  if string.find(',' .. (request.aliases or '') .. ',', ',' .. item.id .. ',', 1, true) then
    return
  end
  request.aliases = request.aliases and request.aliases .. ',' .. item.id or item.id
  redis.call('SET', RECORD .. item.id, 'alias\n' .. request.id)
end
