-- Writes Celery's results of messages that were never accepted: what was wrong with each, or that it
-- was revoked. Where there is a request of that id, or a result, it stays.
--
-- KEYS    none: they follow from the ids (the ledger lives on one node)
-- ARGV    1 options (JSON): result_ttl_s
--         2… for each message its id, then the document
-- returns for each 1 if it was written, or was revoked before; else 0
local written = {}
for first = 2, #ARGV, 2 do
  local id, document = ARGV[first], ARGV[first + 1]
  local there = redis.call('GET', RESULT .. id)
  local is_free = not there and redis.call('EXISTS', RECORD .. id) == 0
  if is_free then
    redis.call('SET', RESULT .. id, document, 'EX', options.result_ttl_s)
    redis.call('PUBLISH', RESULT .. id, document)
  end
  local was_revoked = there and string.find(there, '"status":"REVOKED"', 1, true)
  written[#written + 1] = (is_free or was_revoked) and 1 or 0
end
return written
