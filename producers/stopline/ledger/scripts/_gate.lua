-- requires: clock layouts commit
-- The gate that all calls of all workers go through: whether the API can take one now. It is shut where
-- the API refuses the token or fails, and lets one probe through now and then, which is a request that
-- waits; it keeps what `Retry-After` asked for, the rate, and how many calls are under way. Who does
-- not get through waits where he stood, and no attempt is used up.
--
-- GATE  a record (layouts.py); not there: nothing is the matter, and nothing is limited

local gate = decode_gate(redis.call('GET', GATE) or '')
local gate_changed = false

local function paused_until(lane)
  local at = gate.paused and string.match(',' .. gate.paused, ',' .. lane .. '=(%d+)')
  return at and tonumber(at) or 0
end

-- As long as results are kept, and a pause lasts.
local function gate_ttl_s()
  local ttl = math.max(options.result_ttl_s, options.dead_letter_ttl_s)
  for at in string.gmatch(gate.paused or '', '=(%d+)') do
    ttl = math.max(ttl, math.ceil((tonumber(at) - now) / 1000000))
  end
  return ttl
end

at_commit(function()
  if gate_changed then redis.call('SET', GATE, encode_gate(gate), 'EX', gate_ttl_s()) end
end)
