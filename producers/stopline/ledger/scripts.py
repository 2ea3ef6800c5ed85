"""The ledger's Lua scripts, put together from their files.

A verb's file names the parts it needs in its first line (`-- requires: clock record`); parts are
the files that begin with an underscore, in the order in which they build on each other. A second
line may name flags (`-- flags: allow-oom`).

What settles open requests may write although Redis is full; what takes in something new may not
(https://redis.io/docs/latest/develop/programmability/eval-intro/).
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Final

from stopline.ledger.keys import LUA_NAMES

_REQUIRES: Final = re.compile(r"^-- requires: (?P<parts>[a-z ]+)$", re.MULTILINE)
_FLAGS: Final = re.compile(r"^-- flags: (?P<flags>[a-z,-]+)$", re.MULTILINE)


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
    return f"{_first_line(verb)}\n{body}" if flags else body


def _first_line(verb: str) -> str:
    found = _FLAGS.search(verb)
    return f"#!lua flags={found['flags']}" if found else "#!lua"
