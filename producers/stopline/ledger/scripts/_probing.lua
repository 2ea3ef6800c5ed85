-- From one probe of a shut gate to the next; of a worker that knows of none, as by default.
local function probe_us()
  return options.probe_us or 2000000
end
