-- requires: audit
-- flags: allow-oom
-- Puts something into the audit trail that no other script says there. It may write although Redis is
-- full: the trail has a cap, and what cancels makes room.
--
-- KEYS    none: the trail is a fixed name
-- ARGV    1 options (JSON): audit, audit_max
-- returns nothing
audit(1)
