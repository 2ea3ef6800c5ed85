-- requires: text clock
-- flags: allow-oom
-- Tells the time.
--
-- KEYS    none: the clock is a fixed name
-- ARGV    1 options (JSON): dead_letter_ttl_s, result_ttl_s
-- returns the ledger's time, the server's; microseconds
return {whole(now), whole(server_now)}
