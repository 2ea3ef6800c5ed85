-- Keeps events as they came in, so many of the last ones.
--
-- KEYS    none: the stream is a fixed name
-- ARGV    1 options (JSON): events_max, result_ttl_s
--         2… events, each a JSON document
-- returns nothing
for index = 2, #ARGV do
  redis.call('XADD', EVENTS, 'MAXLEN', '~', options.events_max, '*', 'event', ARGV[index])
end
redis.call('EXPIRE', EVENTS, options.result_ttl_s)
