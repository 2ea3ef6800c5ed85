-- What a server says of a group or a reader: names and values in turn.
local function fields_of(flat)
  local found = {}
  for index = 1, #flat, 2 do found[flat[index]] = flat[index + 1] end
  return found
end
