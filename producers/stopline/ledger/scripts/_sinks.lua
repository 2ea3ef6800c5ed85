-- requires: clock
-- Sinks: the consumer groups that are to have every outcome.
--
-- SINKS  string: the cap of their stream, and their names, a line each

local function names_of_sinks()
  local names = {}
  for name in string.gmatch(sinks_text or '', '\n([^\n]+)') do names[#names + 1] = name end
  return names
end
