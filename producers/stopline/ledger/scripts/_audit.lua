-- Who changed what: a stream with a cap. The texts come with a change, in its order, where somebody is
-- to be named for it; what came of it is noted beside them.
local TARGETS_NAMED_MAX = 100

local function audit(index, ...)
  local entry = options.audit and options.audit[index]
  if entry and entry ~= '' then
    redis.call('XADD', AUDIT, 'MAXLEN', '~', options.audit_max, '*', 'entry', entry, ...)
  end
end
