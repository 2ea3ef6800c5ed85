"""Promises that are on disk: what WAITAOF is asked, and what its answers are worth. Pure.

https://redis.io/docs/latest/commands/waitaof/ (Redis 7.2 and later, Valkey). Many servers answer it
too early under `appendfsync everysec`: as soon as the file is written, while the sync is still to
come (redis#13793, mended in Redis 8.0; Valkey 9.1 does it). With `appendfsync always` every server
syncs before it replies to anybody, so that is asked for where the server is not known to be right.
"""

from __future__ import annotations

from typing import Any, Final

from stopline.errors import InvalidSettingsError, UnavailableError

_WAIT_MS: Final = 4000
"""Less than the connection's timeout; `appendfsync everysec` takes one second, or two when busy."""
WAIT: Final = ("WAITAOF", 1, 0, _WAIT_MS)
"""Wait until this server's append-only file holds what this connection wrote."""
PROBE: Final = ("WAITAOF", 1, 0, 1)
"""The same on a connection that wrote nothing: whether the server can do it at all."""
_RIGHT_SINCE: Final = 8
"""The major version of Redis whose WAITAOF waits for the sync under everysec, too."""


def check_synced(reply: Any) -> None:
    """Take the answer to WAITAOF.

    Raises:
        UnavailableError: the file does not hold it yet.
    """
    if int(reply[0]) < 1:
        raise UnavailableError(
            f"Redis did not write its append-only file to disk within {_WAIT_MS / 1000:g} s, so "
            "there is no receipt (STOPLINE_DURABILITY=fsync). It may have been accepted: send it "
            "again with the same request id, idempotency key or batch id."
        )


def check_server(server: dict[str, Any], appendfsync: str | None) -> None:
    """Check that the server's word is worth something.

    Args:
        server: its `INFO server`.
        appendfsync: its setting; None where it does not tell.

    Raises:
        InvalidSettingsError: its WAITAOF may answer before the sync.
    """
    if appendfsync == "always":
        return
    major = str(server.get("redis_version", "0")).split(".")[0]
    is_right = "valkey_version" not in server and int(major) >= _RIGHT_SINCE
    if appendfsync == "everysec" and is_right:
        return
    raise _unable(
        f"its appendfsync is {appendfsync or 'not told'}, so it may answer WAITAOF before "
        "the sync: set 'appendfsync always'"
    )


def refused(reason: str) -> InvalidSettingsError:
    """The error for a server that refuses WAITAOF."""
    if "appendonly" in reason:
        return _unable("it has no append-only file: set 'appendonly yes' and 'appendfsync always'")
    if "unknown command" in reason:
        return _unable("it does not know WAITAOF: use Redis 7.2 or Valkey, or later")
    return _unable(reason)


def _unable(why: str) -> InvalidSettingsError:
    return InvalidSettingsError(f"This Redis cannot keep STOPLINE_DURABILITY=fsync: {why}.")
