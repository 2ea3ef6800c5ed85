"""The commands `policy …`: check a file of rules, try it on events, run it on a stream."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stopline.cli import output
from stopline.cli.options import AsJson  # noqa: TC001  # typer reads it
from stopline.errors import InvalidRequestError
from stopline.exits import Exit
from stopline_events.cli import app as bridge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopline_events.cloud_events import Event
    from stopline_events.decisions import Resume, Ruled, Stop
    from stopline_events.rules.book import RuleBook

app = typer.Typer(
    help="Rules over events: check a file, try it on events, run it on a stream.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_File = Annotated[Path, typer.Argument(metavar="FILE", help="YAML, with `rules:`.")]
_AGE: Final = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>[smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NONE: Final = "none"


@app.command()
def check(file: _File, as_json: AsJson = False) -> None:
    """Check names, fields, types and order of rules, and of guards; nothing runs."""
    from stopline.policy_file import PolicyFile, read_guards  # noqa: PLC0415  # see _book
    from stopline_events.rules.rule_file import unreachable  # noqa: PLC0415

    sections = PolicyFile(file).sections
    book = _book(file) if "rules" in sections or "guards" not in sections else None
    guards = read_guards(file) if "guards" in sections else ()
    never = [] if book is None else list(unreachable(book))
    rules = () if book is None else book.rules
    if as_json:
        told = [{"rule": name, "reason": reason} for name, reason in never]
        output.print_json({"rules": len(rules), "guards": len(guards), "unreachable": told})
    else:
        output.console.print(output.facts({"rules": len(rules), "guards": len(guards)}))
        for name, reason in never:
            output.say(f"the rule {name} never fires: {reason}")
    if never:
        raise typer.Exit(Exit.NOT_ALL_STOPPED)


@app.command("test")
def try_(
    file: _File,
    events: Annotated[Path, typer.Argument(metavar="EVENTS", help="JSON lines, or a JSON list.")],
    as_json: AsJson = False,
) -> None:
    """Say which rule each event fires, what would be stopped, and why others do not.

    Each line is an event, or {"event": …, "expect": "rule"}: the rule that is to fire first, or
    null for none. Exit 1 if one is not as expected.
    """
    book, wrong = _book(file), 0
    for number, (event, expected) in enumerate(_events(events), 1):
        now = datetime.now(UTC)
        ruled = book.decide(event, arrived_at=now)
        first = ruled.fired[0].rule if ruled.fired else _NONE
        is_right = expected is None or expected == first
        wrong += not is_right
        _print_case(number, event, ruled, book.explain(event, arrived_at=now), as_json=as_json)
        if not is_right:
            output.say(f"event {number}: {expected} was to fire, {first} does")
    if wrong:
        raise typer.Exit(Exit.NOT_ALL_STOPPED)


@app.command()
def replay(
    file: _File,
    since: Annotated[
        str, typer.Option("--since", help="How far back: 30m, 12h, 2d; or a time (RFC 3339).")
    ],
    as_json: AsJson = False,
) -> None:
    """Try rules on the events that came in (STOPLINE_POLICY_RECORD_MAX keeps them)."""
    from stopline import StopClient  # noqa: PLC0415  # see _book
    from stopline_events.cloud_events import parse_structured  # noqa: PLC0415

    book, seen, would_stop = _book(file), 0, 0
    with StopClient() as client:
        moment = _moment(since, client.now())
        for document in client.events.since(moment):
            seen += 1
            event = parse_structured(document.encode())
            ruled = book.decide(event, arrived_at=event.time or moment)
            if ruled.fired or ruled.failed:
                would_stop += any("stop" in _told(one.action) for one in ruled.fired)
                _print_case(seen, event, ruled, [], as_json=as_json)
    told = {"events": seen, "would stop": would_stop}
    if as_json:
        output.print_json(told)
    else:
        output.console.print(output.facts(told))
    if not seen and not as_json:
        output.say("No events are kept: set STOPLINE_POLICY_RECORD_MAX where they come in.")


run = typer.Typer(
    help="Read a stream, and do what the rules of a file say.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@run.callback()
def _rules(
    file: Annotated[Path, typer.Option("--file", metavar="FILE", help="YAML, with `rules:`.")],
) -> None:
    """As `stopline bridge`, with these rules."""
    _book(file)
    os.environ["STOPLINE_POLICY_FILE"] = str(file)


for _command in bridge.registered_commands:
    run.registered_commands.append(_command)
app.add_typer(run, name="run")


def _book(file: Path) -> RuleBook:
    from stopline_events.rules.rule_file import read_rules  # noqa: PLC0415  # --help needs none

    return read_rules(file)


def _events(path: Path) -> Iterator[tuple[Event, str | None]]:
    """Events, and which rule is to fire; None: nobody said."""
    from stopline.contract import parse_json  # noqa: PLC0415  # see _book
    from stopline_events.cloud_events import event_of  # noqa: PLC0415

    for number, document in _documents(path):
        try:
            value = parse_json(document) if isinstance(document, bytes) else document
            is_case = isinstance(value, dict) and set(value) <= {"event", "expect"}
            event = event_of(value["event"] if is_case and "event" in value else value)
        except InvalidRequestError as error:
            raise InvalidRequestError(f"{path}:{number}: {error}", field=error.field) from None
        expects = is_case and "expect" in value
        yield event, (value["expect"] or _NONE) if expects else None


def _documents(path: Path) -> Iterator[tuple[int, Any]]:
    from stopline.contract import parse_json  # noqa: PLC0415  # see _book

    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InvalidRequestError(f"cannot read {path}: {error.strerror}") from None
    if raw.lstrip()[:1] == b"[":
        yield from enumerate(parse_json(raw), 1)
        return
    for number, line in enumerate(raw.splitlines(), 1):
        if line.strip():
            yield number, line


def _told(action: Stop | Resume) -> dict[str, Any]:
    from stopline_events.decisions import Stop  # noqa: PLC0415  # see _book

    if isinstance(action, Stop):
        document = action.request.model_dump(mode="json", exclude_none=True)
        document.pop("request_id")
        return {"stop": document}
    return {"resume": {**action.target._asdict(), "at": action.at and action.at.isoformat()}}


def _print_case(
    number: int, event: Event, ruled: Ruled, why: list[tuple[str, str]], *, as_json: bool
) -> None:
    if as_json:
        output.print_json(
            {
                "event": event.id,
                "type": event.type,
                "fired": [{"rule": one.rule, **_told(one.action)} for one in ruled.fired],
                "failed": [one._asdict() for one in ruled.failed],
                "conditions": dict(why),
            }
        )
        return
    output.print_block((f"{number}", event.id, event.type), _sentence(ruled))
    fired = {one.rule for one in ruled.fired}
    for name, came_of in why:
        if name not in fired:
            output.console.print(f"    {name}: {came_of}", markup=False, highlight=False)


def _sentence(ruled: Ruled) -> str:
    parts = []
    for one in ruled.fired:
        (verb, fields), *_ = _told(one.action).items()
        ids = (fields.get(name) for name in ("user_id", "task_id", "sub_user_id"))
        target = "/".join(part for part in ids if part)
        reason = f" ({fields['reason']})" if fields.get("reason") else ""
        parts.append(f"{one.rule} fires: {verb} {target}{reason}")
    parts += [f"{one.rule or 'the event'} fails: {one.reason}" for one in ruled.failed]
    return "; ".join(parts) or "no rule fires"


def _moment(text: str, now: datetime) -> datetime:
    from stopline.contract import parse_moment  # noqa: PLC0415  # see _book

    found = _AGE.fullmatch(text)
    if found is None:
        return parse_moment(text, "--since")
    return now - timedelta(seconds=int(found["count"]) * _SECONDS[found["unit"]])
