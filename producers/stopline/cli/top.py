"""The command `top`: how the whole deployment does, live in a terminal."""

from __future__ import annotations

import os
import select
import sys
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stopline import health
from stopline.cli import output
from stopline.cli.options import AsJson
from stopline.client.sync_client import StopClient
from stopline.contract import Lane, State
from stopline.errors import StoplineError
from stopline.pulse import Recorder
from stopline.settings.model import Settings
from stopline.texts import duration_text, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from stopline.contract import Batch
    from stopline.health import Health
    from stopline.pulse import LanePulse, Pulse

_LOOK_S: Final = 1.0
_BATCHES_LOOKED_AT: Final = 20
_BATCHES_SHOWN: Final = 5
_LATE_S: Final = 5.0
"""Sooner than so long after it was due nothing is late: sweeps take turns."""


def top(
    once: Annotated[bool, typer.Option("--once", help="Print it once, and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show lanes, rates, times to stop and workers, live; q ends it."""
    settings = Settings.load()
    with StopClient(settings) as client:
        watched = _Watched(client, settings)
        if as_json:
            output.print_json(_document(*watched.look()))
        elif once or not (sys.stdin.isatty() and output.console.is_terminal):
            output.console.print(_screen(*watched.look()))
        else:
            _live(watched)


class _Seen(NamedTuple):
    """What there is to see at a moment; the batches are those that are not over."""

    pulse: Pulse
    health: Health
    batches: tuple[Batch, ...]


class _Watched:
    """Looks at a ledger, and compares with what was before."""

    def __init__(self, client: StopClient, settings: Settings) -> None:
        self._client = client
        self._call_timeout_s = settings.call_timeout_s
        self._recorder = Recorder()
        since = client.now() - timedelta(minutes=3)
        self._recorder.learn(client.view.history(since))

    def look(self) -> _Seen:
        """How it is now."""
        beats = self._client.heartbeats()
        found = health.examine(
            beats.processes,
            beats.now,
            call_timeout_s=self._call_timeout_s,
            around=beats.around,
        )
        pulse = self._recorder.add(self._client.view.overview())
        batches, _ = self._client.view.batches(limit=_BATCHES_LOOKED_AT)
        return _Seen(pulse, found, tuple(one for one in batches if one.pending))


def _live(watched: _Watched) -> None:
    with _keys() as is_over, Live(screen=True, auto_refresh=False, console=output.console) as live:
        while True:
            live.update(_look(watched), refresh=True)
            if is_over(_LOOK_S):
                return


def _look(watched: _Watched) -> RenderableType:
    try:
        return _screen(*watched.look())
    except StoplineError as error:  # it may come back
        return Group(Text(shown(str(error)), style="bold red"), _hint())


@contextmanager
def _keys() -> Iterator[Any]:
    """Whether q was pressed within some seconds; Ctrl-C stays what it is."""
    import termios  # noqa: PLC0415  # not where there is no terminal
    import tty  # noqa: PLC0415

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def is_over(seconds: float) -> bool:
        readable, _, _ = select.select([descriptor], [], [], seconds)
        return bool(readable) and os.read(descriptor, 32)[:1] in {b"q", b"Q", b""}

    tty.setcbreak(descriptor)
    try:
        yield is_over
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _screen(pulse: Pulse, found: Health, batches: Sequence[Batch]) -> RenderableType:
    head = (_headline(pulse, found), _lanes(pulse), _rates(pulse))
    return Group(*head, *_batches(batches), *_troubles(found), _hint())


def _batches(batches: Sequence[Batch]) -> Iterator[Table]:
    """The newest that are not over."""
    if not batches:
        return
    table = Table(box=None, pad_edge=False, header_style="bold dim")
    table.add_column("open batches", no_wrap=True, max_width=40)
    for name in ("ended", "of", ""):
        table.add_column(name, justify="right", no_wrap=True)
    for one in batches[:_BATCHES_SHOWN]:
        state = Text("paused", style="yellow") if one.paused else Text("")
        named = Text(shown(one.name or one.batch_id))
        table.add_row(named, f"{one.total - one.pending:,}", f"{one.total:,}", state)
    yield table


def _headline(pulse: Pulse, found: Health) -> Text:
    state = ("all at work", "green") if found.is_healthy else ("a worker stands still", "bold red")
    dead_style = "red" if pulse.dead_letters else ""
    return Text.assemble(
        (f"{pulse.at:%H:%M:%S}Z  ", "dim"),
        ("open ", "bold"),
        f"{pulse.open_total:,}  ",
        ("calls in flight ", "bold"),
        f"{pulse.calling:,}  ",
        ("dead letters ", "bold"),
        (f"{pulse.dead_letters:,}  ", dead_style),
        (f"{len(found.processes)} processes, ", ""),
        state,
    )


def _lanes(pulse: Pulse) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold dim")
    table.add_column("lane", no_wrap=True, min_width=len(Lane.EMERGENCY))
    for name in (*State, "oldest", "late", "stops/s", "p50", "p99"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in pulse.lanes:
        table.add_row(*_lane(one))
    return table


def _lane(one: LanePulse) -> tuple[RenderableType, ...]:
    late = Text(_short(one.late_s), style="bold red" if (one.late_s or 0) > _LATE_S else "")
    return (
        str(one.lane),
        *(f"{count:,}" for count in one.open.values()),
        _short(one.oldest_s),
        late,
        "-" if one.stopped_per_s is None else f"{one.stopped_per_s:,.1f}",
        _short(one.p50_s),
        _short(one.p99_s),
    )


def _short(seconds: float | None) -> str:
    """A duration in a narrow column: `4m29`, `12.3 s`."""
    text = duration_text(seconds)
    return (
        text.replace(" min ", "m").replace(" h ", "h").removesuffix(" min")
        if "min" in text
        else text
    )


def _rates(pulse: Pulse) -> Table:
    accepted = "-" if pulse.accepted_per_s is None else f"{pulse.accepted_per_s:,.1f}/s"
    ended = "  ".join(f"{kind} {rate:,.1f}/s" for kind, rate in pulse.ended_per_s.items())
    attempts = "  ".join(
        f"{one.verdict} {one.status} {rate:,.1f}/s" for one, rate in pulse.attempts_per_s.items()
    )
    calls = f"p50 {duration_text(pulse.call_p50_s)}  p99 {duration_text(pulse.call_p99_s)}"
    return output.facts(
        {"accepted": accepted, "ended": ended or "-", "attempts": attempts or "-", "calls": calls}
    )


def _troubles(found: Health) -> Iterator[Text]:
    for one in found.standstills:
        yield Text(shown(f"{one.part}: {one.problem}"), style="bold red", overflow="fold")
    for notice in found.notices:
        yield Text(shown(f"{notice.part}: {notice.text}"), style="yellow", overflow="fold")


def _hint() -> Text:
    return Text("rates and times to stop are of the last minute; q ends", style="dim")


def _document(pulse: Pulse, found: Health, batches: Sequence[Batch]) -> dict[str, Any]:
    return {
        "at": pulse.at.isoformat(),
        "lanes": [one._asdict() for one in pulse.lanes],
        "accepted_per_s": pulse.accepted_per_s,
        "ended_per_s": pulse.ended_per_s,
        "attempts_per_s": {
            f"{one.verdict} {one.status}": rate for one, rate in pulse.attempts_per_s.items()
        },
        "call_p50_s": pulse.call_p50_s,
        "call_p99_s": pulse.call_p99_s,
        "calling": pulse.calling,
        "dead_letters": pulse.dead_letters,
        "processes": len(found.processes),
        "healthy": found.is_healthy,
        "standstills": [{"part": one.part, "problem": one.problem} for one in found.standstills],
        "batches": [one.to_json() for one in batches],
        "gate": found.around.gate.to_json() if found.around.gate else None,
    }
