-- requires: clock record batch finish attempt
-- Claims what is due in some lanes, the most urgent lane and the longest due first.
--
-- KEYS    none: they follow from the lanes (the ledger lives on one node)
-- ARGV    1 options (JSON): as for claim, and `limit`, the requests to look at
--         2… lanes, the most urgent first
-- returns now, grants (id, target, attempt, not_after; flat), promoted (id, lane; flat),
--         when the next request of these lanes is due, or ''
local room = options.limit
local next_due
for index = 2, #ARGV do
  local key = DUE .. ARGV[index]
  local ids = {}
  if room > 0 then
    ids = redis.call('ZRANGEBYSCORE', key, '-inf', whole(now), 'LIMIT', 0, room)
  end
  room = room - #ids
  for _, id in ipairs(ids) do
    local request = load_record(id)
    if request then consider(request) else redis.call('ZREM', key, id) end
  end
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  if first and (not next_due or tonumber(first) < next_due) then next_due = tonumber(first) end
end
write_batches()
return {whole(now), grants, promoted, next_due and whole(next_due) or ''}
