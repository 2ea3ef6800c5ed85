"""How the ledger's records are written: one list of fields for Lua and for Python. Pure.

A record is one string, a field a line, an empty line where there is none; the last lines may be
left out. It costs a third of a hash, and reads as text with GET. Every text in it is JSON-escaped
or of the id characters, so no field holds a line break. All times are microseconds.

The scripts' time goes into taking records apart and putting them together. One match with a capture
a field, and one concatenation, cost a third of loops over the fields: hence Lua that is generated.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Kind(Enum):
    """What a field holds, and whether every record has it."""

    TEXT = "text"
    NUMBER = "number"
    OPTIONAL_TEXT = "optional text"
    OPTIONAL_NUMBER = "optional number"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record."""

    name: str
    kind: Kind
    meaning: str

    def decoded(self) -> str:
        """Lua: the field's value, from its text."""
        match self.kind:
            case Kind.TEXT:
                return self.name
            case Kind.OPTIONAL_TEXT:
                return f"present({self.name})"
            case _:
                return f"tonumber({self.name})"

    def encoded(self) -> str:
        """Lua: the field's text, from its value."""
        match self.kind:
            case Kind.TEXT:
                return f"r.{self.name}"
            case Kind.NUMBER:
                return f"whole(r.{self.name})"
            case Kind.OPTIONAL_TEXT:
                return f"r.{self.name} or ''"
            case Kind.OPTIONAL_NUMBER:
                return f"text(r.{self.name})"


@dataclass(frozen=True, slots=True)
class Layout:
    """The fields of a record, in their order.

    Attributes:
        name: of the record, for the names of the Lua functions.
        fields: all of them.
        rare: how many at the end most records do not have: then they are left out.
    """

    name: str
    fields: tuple[Field, ...]
    rare: int

    def parse(self, raw: bytes) -> dict[str, str]:
        """The fields by name, as text; those that were left out are not in it."""
        names = (field.name for field in self.fields)
        return dict(zip(names, raw.decode().split("\n"), strict=False))

    def lua(self) -> str:
        """`decode_<name>(raw)` gives a table, `encode_<name>(r)` the text of one."""
        names = ", ".join(field.name for field in self.fields)
        breaks = "\\n" * (len(self.fields) - 1)
        pattern = "\\n".join(["([^\\n]*)"] * len(self.fields))
        table = ", ".join(f"{field.name} = {field.decoded()}" for field in self.fields)
        often, rare = self.fields[: -self.rare], self.fields[-self.rare :]
        is_rare = " or ".join(f"r.{field.name}" for field in rare)
        first = ", ".join(field.encoded() for field in often)
        rest = ", ".join(field.encoded() for field in rare)
        return (
            f"local function decode_{self.name}(raw)\n"
            f"  local {names} = string.match(raw .. '{breaks}', '^{pattern}')\n"
            f"  return {{{table}}}\n"
            "end\n"
            f"local function encode_{self.name}(r)\n"
            f"  local first = table.concat({{{first}}}, '\\n')\n"
            f"  if not ({is_rare}) then return first end\n"
            f"  return table.concat({{first, {rest}}}, '\\n')\n"
            "end\n"
        )


RECORD: Final = Layout(
    "record",
    (
        Field(
            "state",
            Kind.TEXT,
            "queued | calling | waiting | held; alias: `target` is the id to follow",
        ),
        Field("target", Kind.TEXT, "user_id/task_id[/sub_user_id]"),
        Field("target_digest", Kind.TEXT, "names the target's key, in a fifth of the bytes"),
        Field("lane", Kind.TEXT, "emergency | default | bulk"),
        Field("issued_at", Kind.NUMBER, "when the first wish was issued"),
        Field("wish_at", Kind.NUMBER, "when the latest was: only a call begun since satisfies it"),
        Field("accepted_at", Kind.NUMBER, "when the ledger took it"),
        Field("not_after", Kind.NUMBER, "no attempt begins from then on"),
        Field("body", Kind.TEXT, "what scripts only copy, as JSON members"),
        Field("batches", Kind.OPTIONAL_TEXT, "who counts its outcome: batch=wishes,batch=wishes"),
        Field("attempt", Kind.OPTIONAL_NUMBER, "the number of the last attempt begun"),
        Field("began_at", Kind.OPTIONAL_NUMBER, "when that was claimed: its call began no sooner"),
        Field(
            "token", Kind.OPTIONAL_TEXT, "of that attempt's lease: the claim's, a dot, the attempt"
        ),
        Field(
            "due_at", Kind.OPTIONAL_NUMBER, "its score in the due index; calling: the lease's end"
        ),
        Field("lost", Kind.OPTIONAL_NUMBER, "claims in a row whose lease ended without a result"),
        Field("attempts", Kind.OPTIONAL_TEXT, "finished attempts, as JSON objects"),
        Field("joined", Kind.OPTIONAL_TEXT, "who joined, as JSON objects; the first of them"),
        Field("joined_count", Kind.OPTIONAL_NUMBER, "how many did"),
        Field("aliases", Kind.OPTIONAL_TEXT, "Celery ids that get the same outcome"),
        Field("cancelled", Kind.OPTIONAL_TEXT, "who did so while a call was in flight, as JSON"),
        Field("answered", Kind.OPTIONAL_NUMBER, "attempts whose replies settled nothing"),
        Field("failed", Kind.OPTIONAL_NUMBER, "attempts that failed by the upstream's fault"),
        Field("guard", Kind.OPTIONAL_TEXT, "the source of the guard that holds it, or let it go"),
        Field("held_for", Kind.OPTIONAL_TEXT, "why it is held: canary | tripped | turn"),
        Field("canary", Kind.OPTIONAL_NUMBER, "the run of the guard's canary that it is one of"),
        Field(
            "joined_alone",
            Kind.OPTIONAL_NUMBER,
            "1 where somebody joined it outside any batch: no pause of a batch keeps it",
        ),
    ),
    rare=12,
)
"""An open request."""

TARGET: Final = Layout(
    "target",
    (
        Field("active", Kind.OPTIONAL_TEXT, "the request that is called for"),
        Field("next", Kind.OPTIONAL_TEXT, "the one that takes its place"),
        Field("succeeded_at", Kind.OPTIONAL_NUMBER, "when the call began that last stopped it"),
        Field("succeeded_by", Kind.OPTIONAL_TEXT, "the request that it was for"),
        Field("resumed_at", Kind.OPTIONAL_NUMBER, "when somebody last resumed it"),
        Field("held", Kind.OPTIONAL_TEXT, "a request that a guard holds; not the active or next"),
    ),
    rare=5,
)
"""What is known of a target."""

GATE: Final = Layout(
    "gate",
    (
        Field("cause", Kind.OPTIONAL_TEXT, "why it is shut: credential | breaker"),
        Field("since", Kind.OPTIONAL_NUMBER, "when it was shut"),
        Field("said", Kind.OPTIONAL_TEXT, "what the last call that failed said, as JSON"),
        Field("probe_at", Kind.OPTIONAL_NUMBER, "when one call may try whether it can be opened"),
        Field("probe", Kind.OPTIONAL_TEXT, "the token of the lease under which one does"),
        Field("probe_ends", Kind.OPTIONAL_NUMBER, "when that lease ends"),
        Field("refused", Kind.OPTIONAL_NUMBER, "calls in a row that refused the token"),
        Field("hold_until", Kind.OPTIONAL_NUMBER, "the API asked for no calls until then"),
        Field("calls", Kind.OPTIONAL_TEXT, "the last calls: f for one that failed, a dot else"),
        Field("paused", Kind.OPTIONAL_TEXT, "lane=until,lane=until"),
        Field("rate_due", Kind.OPTIONAL_NUMBER, "when the next call is due if all keep the rate"),
        Field("room", Kind.OPTIONAL_NUMBER, "calls at a time, in thousandths, where it adapts"),
        Field("cut_at", Kind.OPTIONAL_NUMBER, "when that was last made less"),
        Field(
            "looked", Kind.OPTIONAL_TEXT, "lane=when:rank: how far those that wait were looked at"
        ),
        Field(
            "forbidden", Kind.OPTIONAL_TEXT, "users of calls that were forbidden, since one was not"
        ),
        Field("by_401", Kind.OPTIONAL_NUMBER, "1 where the token is unknown, not merely forbidden"),
        Field("retries", Kind.OPTIONAL_NUMBER, "that may be made, in thousandths"),
        Field("retries_at", Kind.OPTIONAL_NUMBER, "when that was"),
    ),
    rare=8,
)
"""Whether calls may be made now, for all workers: `_gate.lua`."""


def lua() -> str:
    """The part of the scripts that reads and writes records."""
    return "\n".join(layout.lua() for layout in (RECORD, TARGET, GATE))
