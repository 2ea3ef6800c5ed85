-- What scripts write last: parts that gather changes say so here, and each verb that may have made
-- some ends with `commit()`.
local writers = {}

local function at_commit(write)
  writers[#writers + 1] = write
end

local function commit()
  for _, write in ipairs(writers) do write() end
end
