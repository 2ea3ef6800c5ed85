"""How large a ledger is, by a measure of our own.

What a server says (`used_memory`, `MEMORY USAGE`) is what its allocator made of it: the same keys
took 908 bytes on one machine and 1,027 on another. This counts what the ledger chose, names and
values, and adds for each the fixed cost that it has in Valkey 9 on 64 bits, so the same keys have
the same size everywhere. On the embedded server it is what a fresh one says, within a tenth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import redis

_KEY: Final = 40
"""An entry: its object with the name in it, and its share of the table."""
_EXPIRY: Final = 16
"""The time to live, and its share of a second table."""
_STRING: Final = 8
"""The header of a value that is a string."""
_MEMBER: Final = 56
"""A member of a large sorted set: its node, its score, and its share of a table."""
_PACKED: Final = 4
"""A name or value in a small hash or set, which is one piece of memory."""
_PAGE: Final = 1000


def ledger_bytes(client: redis.Redis) -> int:
    """The size of everything in a database."""
    total, cursor = 0, 0
    while True:
        cursor, names = client.scan(cursor, count=_PAGE)
        total += _of_keys(client, list(names))
        if cursor == 0:
            return total


def _of_keys(client: redis.Redis, names: list[bytes]) -> int:
    asking = client.pipeline(transaction=False)
    for name in names:
        asking.type(name)
        asking.pttl(name)
    told = asking.execute()
    looking = client.pipeline(transaction=False)
    for name, kind in zip(names, told[::2], strict=True):
        _ASK[kind](looking, name)
    values = looking.execute()
    return sum(
        _KEY + len(name) + (_EXPIRY if ttl_ms >= 0 else 0) + _SIZE[kind](value)
        for name, kind, ttl_ms, value in zip(names, told[::2], told[1::2], values, strict=True)
    )


_ASK: Final[dict[bytes, Any]] = {
    b"string": lambda pipe, name: pipe.strlen(name),
    b"zset": lambda pipe, name: pipe.zrange(name, 0, -1),
    b"hash": lambda pipe, name: pipe.hgetall(name),
    b"set": lambda pipe, name: pipe.smembers(name),
    b"list": lambda pipe, name: pipe.lrange(name, 0, -1),
}
_SIZE: Final[dict[bytes, Any]] = {
    b"string": lambda length: _STRING + length,
    b"zset": lambda members: sum(_MEMBER + len(one) for one in members),
    b"hash": lambda fields: sum(2 * _PACKED + len(n) + len(v) for n, v in fields.items()),
    b"set": lambda members: sum(_PACKED + len(one) for one in members),
    b"list": lambda items: sum(_PACKED + len(one) for one in items),
}
