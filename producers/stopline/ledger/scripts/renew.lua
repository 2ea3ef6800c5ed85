-- requires: text clock record commit gate
-- flags: allow-oom
-- Extends the leases of calls in flight.
--
-- KEYS    none: they follow from the records (the ledger lives on one node)
-- ARGV    1 options (JSON): concurrent, counts, dead_letter_ttl_s, lease_us, result_ttl_s
--         2… request id, token; for each lease
-- returns now, '1' for each lease that is extended, '' for one that is lost: somebody else may
--         be calling for its request
local kept = {}
for index = 2, #ARGV, 2 do
  local request = load_record(ARGV[index])
  if request and request.token == ARGV[index + 1] and call_in_flight(request) then
    set_due(request, now + options.lease_us)
    save_record(request)
    if gate.probe == request.token then gate.probe_ends, gate_changed = request.due_at, true end
    if options.concurrent then redis.call('ZADD', CALLING, 'XX', whole(request.due_at), request.id) end
    kept[#kept + 1] = '1'
  else
    kept[#kept + 1] = ''
  end
end
commit()
return {whole(now), kept}
