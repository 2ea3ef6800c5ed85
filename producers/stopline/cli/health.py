"""The command `health`: whether the workers do their work, for containers and for people."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from stopline import health as heartbeats
from stopline.cli import output
from stopline.cli.exits import Exit
from stopline.cli.options import AsJson
from stopline.client import StopClient
from stopline.contract import Lane
from stopline.settings import Settings

if TYPE_CHECKING:
    from datetime import datetime

    from stopline.contract import Heartbeat


def health(
    here: Annotated[
        bool, typer.Option("--here", help="Only the workers of this host: for container checks.")
    ] = False,
    lanes: Annotated[
        list[Lane] | None,
        typer.Option("--lane", help="A lane that must be served; all if left out."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say which part of the workers stands still; exit 1 if one does, 3 without Redis."""
    settings = Settings.load()
    with StopClient(settings) as client:
        found = client.heartbeats()
    host = socket.gethostname()
    health = heartbeats.examine(
        [beat for beat in found.processes if not here or beat.host == host],
        found.now,
        call_timeout_s=settings.call_timeout_s,
        lanes=lanes or ([] if here and found.processes else Lane),
        is_gone=lambda beat: beat.host == host and not _is_alive(beat.pid),
    )
    if as_json:
        output.print_json(_document(health))
    else:
        _print(health, found.now)
    if not health.is_healthy:
        raise typer.Exit(Exit.NOT_ALL_STOPPED)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is there, and somebody else's
    return True


def _document(health: heartbeats.Health) -> dict[str, object]:
    return {
        "healthy": health.is_healthy,
        "processes": [beat.to_json() for beat in health.processes],
        "standstills": [{"part": one.part, "problem": one.problem} for one in health.standstills],
        "notices": [{"part": one.part, "text": one.text} for one in health.notices],
    }


def _print(health: heartbeats.Health, now: datetime) -> None:
    table = Table("process", "role", "lanes", "heartbeat", "last consumed", "last swept", "calls")
    for beat in health.processes:
        table.add_row(*(Text(output.shown(cell)) for cell in _row(beat, now)))
    output.console.print(table)
    if not health.processes:
        output.say("no worker was heard of in the last two minutes")
    for one in health.standstills:
        output.say(f"stands still: {one.part}: {one.problem}")
    for notice in health.notices:
        output.say(f"notice: {notice.part}: {notice.text}")


def _row(beat: Heartbeat, now: datetime) -> tuple[str, ...]:
    return (
        beat.process_id,
        beat.role,
        ", ".join(beat.lanes),
        _ago(beat.beat_at, now),
        _ago(beat.consumed_at, now),
        _ago(beat.swept_at, now),
        "" if beat.in_flight is None else str(beat.in_flight),
    )


def _ago(moment: datetime | None, now: datetime) -> str:
    return "" if moment is None else f"{max(0.0, (now - moment).total_seconds()):.0f} s ago"
