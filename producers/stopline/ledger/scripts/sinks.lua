-- requires: text clock fields sinks
-- flags: allow-oom
-- Reads how far the sinks are.
--
-- KEYS    none: they are fixed names
-- ARGV    1 options (JSON): dead_letter_ttl_s, result_ttl_s
-- returns the server's time, how many outcomes went before every sink had them; of each sink (flat) its name,
--         how many read for it, how many outcomes it was given and has not acknowledged, how many it was not
--         given ('' where that is unknown), the first that it has not acknowledged or ''
local found, views = {}, {}
local groups = redis.pcall('XINFO', 'GROUPS', OUTCOMES)
for _, flat in ipairs(groups.err and {} or groups) do
  local group = fields_of(flat)
  found[group.name] = group
end

local function first_of(group)
  if group and group.pending > 0 then return redis.call('XPENDING', OUTCOMES, group.name)[2] end
  local from = group and '(' .. group['last-delivered-id'] or '-'
  local entry = redis.call('XRANGE', OUTCOMES, from, '+', 'COUNT', 1)[1]
  return entry and entry[1] or ''
end

for _, name in ipairs(names_of_sinks()) do
  local group = found[name]
  local lag = group and group.lag
  if not group then lag = redis.call('XLEN', OUTCOMES) end
  for _, value in ipairs({name, group and group.consumers or 0, group and group.pending or 0,
    type(lag) == 'number' and lag or '', first_of(group)}) do
    views[#views + 1] = value
  end
end
return {whole(server_now), redis.call('HGET', COUNTS, 'outcomes_dropped') or '0', views}
