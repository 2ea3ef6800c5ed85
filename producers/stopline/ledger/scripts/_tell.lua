-- requires: clock commit replies queues backlog
-- Tells workers at once what is to be called for, where the queues are in the ledger's database: in
-- the step that accepts it, and in the client's one round trip.
local function message(lane, ids)
  return (string.gsub(ENTRY, '@(%u+)@', {
    ID = 'dispatch-' .. ids[1], COUNT = #ids, QUEUE = QUEUES[lane],
    IDS = '\\"' .. table.concat(ids, '\\", \\"') .. '\\"',
  }))
end

-- Where the queue is long, they wait their turn in the ledger.
local function line_up_single(lane, ids)
  for _, id in ipairs(ids) do
    line_up(line_of(lane, 'u:' .. (user_of[id] or '')), nil, id, last_of[id] or now)
  end
end

at_commit(function()
  if not options.queues_here then return end
  -- From the last to the first: where one went to a more urgent lane meanwhile, it is there.
  local told, ids = {}, {}
  for at = #replies - 3, 1, -4 do
    local id, lane = replies[at + 1], replies[at + 2]
    if replies[at + 3] == '1' then
      replies[at + 3] = ''
      if not told[id] then
        ids[lane] = ids[lane] or {}
        table.insert(ids[lane], 1, id)
        told[id] = true
      end
    end
  end
  for lane, some in pairs(ids) do
    if redis.call('LPUSH', QUEUES[lane], message(lane, some)) > QUEUE_MAX then
      redis.call('LPOP', QUEUES[lane])
      line_up_single(lane, some)
    end
  end
  write_lines()
end)
