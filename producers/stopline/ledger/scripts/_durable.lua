-- requires: commit
-- A promise that is to be on disk needs a write on its own connection: WAITAOF waits for those, and
-- a repeated accept may otherwise only read what another connection wrote a moment ago.
at_commit(function()
  if options.durable then redis.call('SET', DURABLE, '1', 'EX', 60) end
end)
