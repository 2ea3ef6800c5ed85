-- requires: tally
-- What became of each request on its way in: receipts and refusals, flat.
local replies = {}

local function reply(kind, id, lane, dispatch)
  local last = #replies
  replies[last + 1], replies[last + 2] = kind, id
  replies[last + 3], replies[last + 4] = lane, dispatch and '1' or ''
  if options.counts then
    if kind == 'refused' then tally('refused', id, '', 1) else tally('receipt', kind, '', 1) end
  end
end

local function refuse(why, field)
  reply('refused', why, field or '', false)
end
