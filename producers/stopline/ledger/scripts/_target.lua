-- requires: layouts
-- What is known of targets; `TARGET` in layouts.py says what.

local function load_target(digest)
  local raw = redis.call('GET', TARGET .. digest)
  local target = raw and decode_target(raw) or {}
  target.digest = digest
  return target
end

-- What is known of a target must outlive its open requests; after them it is kept as long as
-- outcomes are.
local function save_target(target)
  local value = encode_target(target)
  if target.active or target.held then
    redis.call('SET', TARGET .. target.digest, value)
  else
    redis.call('SET', TARGET .. target.digest, value, 'EX', options.result_ttl_s)
  end
end
