"""The ledger's Lua scripts, put together from their files.

A verb's file names the parts it needs in its first line (`-- requires: clock record`); parts are
the files that begin with an underscore, in the order in which they build on each other.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Final

from stopline.ledger.keys import LUA_NAMES

_FLAGS: Final = "#!lua flags=allow-oom\n"
"""Scripts may write although Redis is full: accepting looks after its own limit, and settling
must always find room (https://redis.io/docs/latest/develop/programmability/eval-intro/)."""
_REQUIRES: Final = re.compile(r"^-- requires: (?P<parts>[a-z ]+)$", re.MULTILINE)


def _read(name: str) -> str:
    return resources.files("stopline.ledger").joinpath("scripts", f"{name}.lua").read_text("utf-8")


@cache
def source(name: str, *, flags: bool = True) -> str:
    """The whole text of the script for a verb.

    Args:
        name: the verb: its file's name without the ending.
        flags: whether the server knows script flags (Redis 7 and later, Valkey).
    """
    verb = _read(name)
    required = _REQUIRES.search(verb)
    parts = required["parts"].split() if required else []
    names = [f"local {name} = '{prefix}'" for name, prefix in LUA_NAMES.items()]
    options = "local options = cjson.decode(ARGV[1])"
    body = "\n".join([*names, options, *(_read(f"_{part}") for part in parts), verb])
    return (_FLAGS if flags else "") + body
