-- How values are written as text.

-- Lua's tostring rounds to 14 digits; microseconds have 16.
local function whole(number)
  return string.format('%d', number)
end

local function text(number)
  return number and string.format('%d', number) or ''
end

-- A field that is there; an empty one stands for none.
local function present(field)
  if field ~= '' then return field end
end
