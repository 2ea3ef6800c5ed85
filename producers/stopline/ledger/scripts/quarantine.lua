-- requires: clock record batch finish
-- Keeps a queue message that no worker can handle.
--
-- KEYS    none: the index and the messages are fixed names
-- ARGV    1 options (JSON): dead_letter_ttl_s
--         2 message id, 3 the message as JSON members; the time is added here
-- returns nothing
redis.call('SET', MESSAGE .. ARGV[2],
  '{"message_id":"' .. ARGV[2] .. '","quarantined_at":"' .. rfc3339(now) .. '",' .. ARGV[3] .. '}',
  'EX', options.dead_letter_ttl_s)
bury(ARGV[2])
