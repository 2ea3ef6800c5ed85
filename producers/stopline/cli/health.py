"""The command `health`: whether the workers do their work, for containers and for people."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Annotated

import typer

from stopline import health as heartbeats
from stopline.cli import output
from stopline.cli.options import AsJson
from stopline.client.sync_client import StopClient
from stopline.contract import Lane
from stopline.exits import Exit
from stopline.settings.model import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from stopline.contract import BridgeState, Heartbeat


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
        around=found.around,
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
        "gate": health.around.gate.to_json() if health.around.gate else None,
        "notices": [{"part": one.part, "text": one.text} for one in health.notices],
    }


def _print(health: heartbeats.Health, now: datetime) -> None:
    for beat in health.processes:
        output.print_block((beat.role, beat.process_id, ", ".join(beat.lanes)), _seen(beat, now))
    if not health.processes:
        output.say("no worker was heard of in the last two minutes")
    for one in health.standstills:
        output.say(f"stands still: {one.part}: {one.problem}")
    for notice in health.notices:
        output.say(f"notice: {notice.part}: {notice.text}")
    if health.is_healthy:
        output.console.print("All of them are at work.")


def _seen(beat: Heartbeat, now: datetime) -> str:
    """What a process last did, and when."""
    parts = (
        _ago("heartbeat", beat.beat_at, now),
        _ago("looked at its queues", beat.consumed_at, now),
        _ago("swept", beat.swept_at, now),
        None if beat.in_flight is None else f"{beat.in_flight} calls in flight",
        f"paused: {', '.join(beat.paused)}" if beat.paused else None,
        *_bridge(beat.bridge),
    )
    return ", ".join(part for part in parts if part)


def _bridge(state: BridgeState | None) -> Iterator[str]:
    if state is not None:
        yield f"{state.received} messages"
        yield f"lag {'unknown' if state.lag is None else state.lag}"
        yield f"at {state.position}" if state.position else "none acknowledged yet"
        if state.quarantined:
            yield f"{state.quarantined} quarantined"


def _ago(what: str, moment: datetime | None, now: datetime) -> str | None:
    if moment is None:
        return None
    return f"{what} {max(0.0, (now - moment).total_seconds()):.0f} s ago"
