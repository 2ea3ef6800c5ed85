"""The lanes' queues in Redis: messages are taken off them and noted as unacknowledged in one step.

kombu pops a message and notes it a moment later; who dies in between has lost it. What stands in
Redis is kombu's all the same (`unacked`, `unacked_index`, an entry and where it belongs), so that
its own workers put back what one of ours left, and ours what one of theirs left.

Messages of ids are not noted: the ledger has the ids, and a sweep finds what a crash loses.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stopline.contract import DISPATCH_TASK, MESSAGE_IDS_MAX, Lane
from stopline.servers.connecting import close
from stopline_worker.intake.dispatch_entries import MARK
from stopline_worker.intake.envelope import ENTRY_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import redis

LANE_QUEUES: Final = frozenset(lane.queue for lane in Lane)
"""Other queues are Celery's own, of its remote control."""
UNACKED: Final = "unacked"
UNACKED_INDEX: Final = "unacked_index"
"""Where kombu notes what is unacknowledged, by its default settings."""
UNREADABLE: Final = ":unreadable"
"""What a queue's list of entries is called that are no messages, until they are in quarantine."""
_IDS_BYTES_MAX: Final = 64 * 1024
"""A full message of ids has 37 KB at most."""
_BYTES_MAX: Final = 2 * ENTRY_BYTES_MAX
"""What is taken at once is in memory twice, here and there."""
_LOOKED_AT: Final = 500
_PAGES_MAX: Final = 20
_NOTE: Final = """
local NOTE = '^%[(.*), ?"[^"]*", ?"([^"]*)"%]$'
"""
"""An entry with its exchange and its routing key, as kombu notes it."""
_TAKE: Final = (
    _NOTE
    + """
local tags, limit, ids_bytes, bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]),
  tonumber(ARGV[4])
local entry_max, mark, task = tonumber(ARGV[5]), ARGV[6], ARGV[7]
local taken, number = {}, 0

local function add(queue, tag, entry)
  for _, one in ipairs({queue, tag, entry}) do taken[#taken + 1] = one end
end

-- Asked again, since the reply got lost: the same again.
while true do
  number = number + 1
  local note = redis.call('HGET', KEYS[1], tags .. number)
  if not note then break end
  local entry, queue = string.match(note, NOTE)
  add(queue, tags .. number, entry)
end
if #taken > 0 then return taken end

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000

local function is_shallow(value, room)
  if type(value) ~= 'table' then return true end
  if room == 0 then return false end
  for _, one in pairs(value) do
    if not is_shallow(one, room - 1) then return false end
  end
  return true
end

-- Who puts a note back parses it: one that cannot be parsed would hold up all that come after it.
local function parse(entry)
  if #entry > entry_max or not string.find(entry, '^%s*{') then return nil end
  -- Parsing megabytes of brackets holds the server up for seconds.
  if #entry > 65536 and select(2, string.gsub(entry, '[%[{]', '')) > 1000 then return nil end
  local parsed, value = pcall(cjson.decode, entry)
  if parsed and is_shallow(value, 32) then return value end
end

-- The mark may stand elsewhere in what is no message of ids.
local function has_ids(entry, value)
  if not string.find(entry, mark, 1, true) then return false end
  return value and type(value.headers) == 'table' and value.headers.task == task
end

local function note(queue, list, entry)
  -- What was taken under these tags before may have been given back in part.
  while redis.call('HEXISTS', KEYS[1], tags .. number) == 1 do number = number + 1 end
  local tag = tags .. number
  local done = redis.pcall('ZADD', KEYS[2], now, tag)
  if type(done) == 'table' and done.err then return nil, done.err end
  done = redis.pcall('HSET', KEYS[1], tag, '[' .. entry .. ', "", "' .. queue .. '"]')
  if type(done) == 'table' and done.err then
    redis.call('ZREM', KEYS[2], tag)
    return nil, done.err
  end
  redis.call('RPOP', list)
  return tag
end

-- What becomes of an entry: its tag, '' for ids, '!' for what is no message; nil: no more now.
local function take(queue, list, entry)
  local value = parse(entry)
  if not value then
    local kept = string.sub(entry, 1, entry_max / 64)
    redis.pcall('LPUSH', queue .. ':unreadable', kept)
    redis.call('RPOP', list)
    return '!', kept
  end
  if has_ids(entry, value) and #entry <= ids_bytes then
    redis.call('RPOP', list)
    return '', entry
  end
  if #taken > 0 and #entry > bytes then return nil end
  local tag, problem = note(queue, list, entry)
  return tag, entry, problem
end

for index = 3, #KEYS do
  for priority = 0, 9 do
    local list = priority == 0 and KEYS[index] or KEYS[index] .. '\\6\\22' .. priority
    while #taken < 3 * limit and bytes > 0 do
      local entry = redis.pcall('LINDEX', list, -1)
      if type(entry) ~= 'string' then break end
      local tag, kept, problem = take(KEYS[index], list, entry)
      if problem and #taken == 0 then return redis.error_reply(problem) end
      if not tag then return taken end
      bytes = bytes - #entry
      add(KEYS[index], tag, kept)
    end
  end
end
return taken
"""
)
"""KEYS: unacked, its index, queues in order. ARGV: the beginning of the tags; how many messages at
most; the longest one with ids that is not noted; how many bytes in all; the longest entry that may
be a message; how messages of ids are known, and their task. Returns queue, tag and entry of each,
flat. Of an entry that is too long it keeps the beginning."""
_GIVE_BACK: Final = (
    _NOTE
    + """
local lanes, tags, given = {}, {}, 0
for name in string.gmatch(ARGV[1], '%S+') do lanes[name] = true end
if ARGV[2] ~= '' then
  local time = redis.call('TIME')
  local due = time[1] + time[2] / 1000000 - tonumber(ARGV[2])
  tags = redis.call('ZRANGE', KEYS[2], '-inf', due, 'BYSCORE', 'LIMIT', ARGV[3], ARGV[4])
end
for index = 5, #ARGV do tags[#tags + 1] = ARGV[index] end

for _, tag in ipairs(tags) do
  local note = redis.call('HGET', KEYS[1], tag)
  local entry, queue = string.match(note or '', NOTE)
  if lanes[queue or ''] then
    redis.call('RPUSH', queue, entry)
    redis.call('HDEL', KEYS[1], tag)
    given = given + 1
  end
  if not note or lanes[queue or ''] then redis.call('ZREM', KEYS[2], tag) end
end
return {given, #tags - given}
"""
)
"""KEYS: unacked, its index. ARGV: the lanes' queues; '' or for how many seconds a message may be
unacknowledged; how many of those to pass over, and to look at; tags. Returns how many messages went
back, and how many stayed: those of other queues are left to who serves them."""
_PUT_OFF: Final = """
local time = redis.call('TIME')
local at = time[1] + time[2] / 1000000 + tonumber(ARGV[2]) - tonumber(ARGV[3])
return redis.call('ZADD', KEYS[1], 'XX', at, ARGV[1])
"""
"""KEYS: the index of unacked. ARGV: a tag; after how many seconds it is to be overdue; for how many
a message may be unacknowledged."""


class Taken(NamedTuple):
    """An entry that was taken off a queue.

    Attributes:
        queue: the queue.
        entry: what stood there.
        tag: to acknowledge it by; None for what is not noted.
        is_readable: whether it can be parsed; what cannot lies in the queue's list for such.
    """

    queue: str
    entry: bytes
    tag: str | None = None
    is_readable: bool = True


class LaneQueues:
    """Takes messages off the lanes' queues, and gives back what nobody acknowledged.

    Args:
        client: of the broker.
        visibility_timeout_s: how long a message may be unacknowledged.

    Raises (every method):
        RedisError, OSError: the broker does not answer, or refuses.
    """

    def __init__(self, client: redis.Redis, visibility_timeout_s: float) -> None:
        self._client = client
        self._visibility_timeout_s = visibility_timeout_s
        self._take = client.register_script(_TAKE)
        self._give_back = client.register_script(_GIVE_BACK)
        self._put_off = client.register_script(_PUT_OFF)
        self._process = secrets.token_hex(8)
        self._takes = 0
        self._passed = 0

    def take(self, queues: Sequence[str]) -> list[Taken]:
        """The messages that wait next, those of the first queue first.

        After a failure it gives what may have been taken then.
        """
        keys = [UNACKED, UNACKED_INDEX, *queues]
        tags = f"{self._process}-{self._takes}-"
        sizes = (MESSAGE_IDS_MAX, _IDS_BYTES_MAX, _BYTES_MAX, ENTRY_BYTES_MAX)
        found = self._take(keys, [tags, *sizes, MARK, DISPATCH_TASK])
        self._takes += 1
        rows = zip(found[::3], found[1::3], found[2::3], strict=True)
        return [
            Taken(queue.decode(), entry, tag.decode() if tag not in _NO_TAGS else None, tag != b"!")
            for queue, tag, entry in rows
        ]

    def acknowledge(self, tags: Sequence[str]) -> None:
        """They are done with: nobody gets them again."""
        if tags:
            pipe = self._client.pipeline(transaction=True)
            pipe.zrem(UNACKED_INDEX, *tags)
            pipe.hdel(UNACKED, *tags)
            pipe.execute()

    def give_back(self, tags: Sequence[str]) -> None:
        """Whoever takes the next messages gets them."""
        if tags:
            self._run_give_back("", 0, tags)

    def give_back_overdue(self) -> int:
        """Give back what was not acknowledged in time, by anybody; how many."""
        given = 0
        for _ in range(_PAGES_MAX):
            limit_s = str(self._visibility_timeout_s)
            some, stayed = self._run_give_back(limit_s, self._passed, ())
            given += some
            # Notes of others stay: the next time it goes on behind them.
            self._passed = self._passed + stayed if some + stayed >= _LOOKED_AT else 0
            if not self._passed:
                break
        return given

    def _run_give_back(self, limit_s: str, first: int, tags: Iterable[str]) -> tuple[int, int]:
        lanes = " ".join(sorted(LANE_QUEUES))
        arguments: list[str | int] = [lanes, limit_s, first, _LOOKED_AT, *tags]
        given, stayed = self._give_back([UNACKED, UNACKED_INDEX], arguments)
        return int(given), int(stayed)

    def put_off(self, tag: str, delay_s: float) -> None:
        """Have it overdue after some seconds, and not before; whoever is there gives it back."""
        self._put_off([UNACKED_INDEX], [tag, delay_s, self._visibility_timeout_s])

    def unreadable(self, queue: str) -> list[bytes]:
        """Entries that were taken and are no messages, the oldest first."""
        found: Any = self._client.lrange(queue + UNREADABLE, -MESSAGE_IDS_MAX, -1)
        return list(reversed(found))

    def forget_unreadable(self, queue: str, entry: bytes) -> None:
        """It is kept elsewhere."""
        self._client.execute_command("LREM", queue + UNREADABLE, -1, entry)

    def close(self) -> None:
        """Close the connections."""
        close(self._client)


_NO_TAGS: Final = frozenset({b"", b"!"})
