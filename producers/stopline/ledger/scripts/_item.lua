-- requires: text clock
-- Requests on their way in.

-- One request is one argument, a field a line: '' where there is none. `wish` is who asks and why,
-- `more` the other members of the body, each after a comma. The idempotency key comes last, because
-- it alone may hold a line break.
local ITEM_FIELDS = '^' .. string.rep('([^\n]*)\n', 11) .. '(.*)$'
local function read_item(raw)
  local id, target, target_digest, lane, issued_at, not_after, wish, more, batch_id, place, alias,
    idempotency_key = string.match(raw, ITEM_FIELDS)
  return {
    id = id, target = target, target_digest = target_digest, lane = lane,
    issued_at = issued_at == '' and now or math.min(by_ledger(tonumber(issued_at)), now),
    not_after = not_after == '' and now + options.deadline_us or by_ledger(tonumber(not_after)),
    wish = wish, more = more, idempotency_key = present(idempotency_key),
    batch_id = present(batch_id), place = tonumber(place), alias = present(alias),
  }
end
