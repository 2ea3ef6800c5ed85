-- requires: text clock
-- flags: allow-oom
-- Reads the gate. Where Redis is full somebody has to look, too.
--
-- KEYS    none: the gate is a fixed name
-- ARGV    1 options (JSON): dead_letter_ttl_s, result_ttl_s
-- returns now, the record of the gate or '', the lanes that were paused (lane, JSON; flat)
return {whole(now), redis.call('GET', GATE) or '', redis.call('HGETALL', PAUSES)}
