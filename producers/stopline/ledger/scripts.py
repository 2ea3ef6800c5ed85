"""The ledger's Lua scripts, put together from their files.

A verb's file and each part (a file that begins with an underscore) name in their first line the
parts whose names they use (`-- requires: clock record`); a script is the parts that its verb needs,
each after those that it needs itself, and the verb. The parts `layouts` and `queues` are made, of
`layouts.py` and the contract. A second line may name flags (`-- flags: allow-oom`), and a third a
part that all others come after (`-- first: rehearsal`).

What settles open requests may write although Redis is full; what takes in something new may not
(https://redis.io/docs/latest/develop/programmability/eval-intro/).
"""

from __future__ import annotations

import re
from functools import cache
from graphlib import TopologicalSorter
from importlib import resources
from typing import Final

from stopline.contract import BEYOND, ENTRY_TEMPLATE, STOP_BUCKETS_S, Lane
from stopline.ledger import layouts
from stopline.ledger.keys import LUA_NAMES

_REQUIRES: Final = re.compile(r"\A-- requires: (?P<parts>[a-z ]+)$", re.MULTILINE)
_NAME: Final = re.compile(r"\b[A-Z]+\b")
_TOP: Final = re.compile(
    r"^local (?P<function>function )?(?P<names>\w+(?:, \w+)*)(?P<assigns>(?= =)|(?=\())?",
    re.MULTILINE,
)
"""What gives a name of Lua to all that follows in a script: a variable, or a function."""
_FIRST: Final = re.compile(r"^-- first: (?P<part>[a-z]+)$", re.MULTILINE)
_FLAGS: Final = re.compile(r"^-- flags: (?P<flags>[a-z,-]+)$", re.MULTILINE)


def _queues() -> str:
    """The part that knows the lanes' queues, and how a message in them looks."""
    queues = ", ".join(f"{lane.value} = '{lane.queue}'" for lane in Lane)
    return f"local QUEUES = {{{queues}}}\nlocal ENTRY = [=[{ENTRY_TEMPLATE}]=]\n"


def _buckets() -> str:
    """The part that knows into which bucket the time of a stop falls."""
    bounds = ", ".join(f"{{{round(bound * 1_000_000)}, '{bound}'}}" for bound in STOP_BUCKETS_S)
    return (
        f"local STOP_BUCKETS = {{{bounds}}}\n"
        "local function stop_bucket(took)\n"
        "  for _, one in ipairs(STOP_BUCKETS) do\n"
        "    if took <= one[1] then return one[2] end\n"
        "  end\n"
        f"  return '{BEYOND}'\n"
        "end\n"
    )


_MADE: Final = {
    "_buckets": _buckets,
    "_layouts": lambda: f"-- requires: text\n{layouts.lua()}",
    "_queues": _queues,
}


def read(name: str) -> str:
    """The text of a file: a verb's, or a part's with its underscore."""
    if name in _MADE:
        return _MADE[name]()
    return resources.files("stopline.ledger").joinpath("scripts", f"{name}.lua").read_text("utf-8")


def required(text: str) -> list[str]:
    """The parts that a file names itself."""
    found = _REQUIRES.search(text)
    return found["parts"].split() if found else []


def parts_of(name: str) -> list[str]:
    """The parts of a verb's script, in their order.

    Raises:
        graphlib.CycleError: parts need each other.
    """
    needs: dict[str, list[str]] = {}
    waiting = required(read(name))
    while waiting:
        part = waiting.pop()
        if part not in needs:
            needs[part] = sorted(required(read(f"_{part}")))
            waiting += needs[part]
    return list(TopologicalSorter({part: needs[part] for part in sorted(needs)}).static_order())


def with_keys(text: str) -> str:
    """The text with keys in the place of their names: a script has room for 200 names of Lua."""
    return _NAME.sub(lambda found: _literal(found[0]), text)


def _literal(name: str) -> str:
    return f"'{LUA_NAMES[name]}'" if name in LUA_NAMES else name


def _enclosed(part: str, others: str) -> str:
    """A part whose own names stay in it: a script has room for 200 names of Lua at its top."""
    found = [name for one in _TOP.finditer(part) for name in re.findall(r"\w+", one["names"])]
    shared = [name for name in found if re.search(rf"\b{name}\b", others)]
    if not shared:
        return f"do\n{part}\nend"

    def without_local(one: re.Match[str]) -> str:
        names = re.findall(r"\w+", one["names"])
        own = [name for name in names if name not in shared]
        if own == names:
            return one[0]
        declared = f"local {', '.join(own)}; " if own else ""
        is_only_named = one["function"] is None and one["assigns"] is None
        return declared + ("" if is_only_named else (one["function"] or "") + one["names"])

    return f"local {', '.join(shared)}\ndo\n{_TOP.sub(without_local, part)}\nend"


@cache
def source(name: str, *, flags: bool = True) -> str:
    """The whole text of the script for a verb.

    Args:
        name: the verb: its file's name without the ending.
        flags: whether the server knows script flags (Redis 7 and later, Valkey).
    """
    verb = read(name)
    options = "local options = cjson.decode(ARGV[1])"
    first = [read(f"_{found['part']}")] if (found := _FIRST.search(verb)) else []
    parts = [read(f"_{part}") for part in parts_of(name)]
    enclosed = [
        _enclosed(part, "\n".join([*parts[:at], *parts[at + 1 :], verb]))
        for at, part in enumerate(parts)
    ]
    body = with_keys("\n".join([options, *first, *enclosed, verb]))
    return f"{_first_line(verb)}\n{body}" if flags else body


def _first_line(verb: str) -> str:
    found = _FLAGS.search(verb)
    return f"#!lua flags={found['flags']}" if found else "#!lua"
