"""The commands `outcomes …`: run what leaves, see how far it is."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from stopline.cli import output
from stopline.cli.options import AsJson
from stopline.errors import InvalidRequestError
from stopline.logs import configure_logging
from stopline.supervised import drain_with_supervisor
from stopline_archive.installed import require_installed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stopline import AsyncStopClient
    from stopline.contract import SinkView
    from stopline_outcomes.sending import Sending
    from stopline_outcomes.settings import CallbackSettings
    from stopline_outcomes.sink import Keep, Sink
    from stopline_outcomes.telling import Telling

app = typer.Typer(
    help="What leaves: outcomes go into the archive, and to who wants to be told.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def run() -> None:
    """Read outcomes for every sink that is set up, until it is stopped."""
    require_installed()
    configure_logging("info")
    drain_with_supervisor()
    asyncio.run(_run())


@app.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """Show how far each sink is, and what was lost to them."""
    from stopline.client.sync_client import StopClient  # noqa: PLC0415  # --help needs none of it

    with StopClient() as client:
        found = client.sinks.view()
    if as_json:
        output.print_json(found.to_json())
        return
    if not found.views:
        output.say("There is no sink: 'stopline outcomes run' makes them.")
    else:
        table = Table("sink", "readers", "waiting", "oldest", box=None, pad_edge=False)
        for one in found.views:
            table.add_row(*_cells(one))
        output.console.print(table)
    for part, text in found.notices():
        output.say(f"{part}: {text}")


@app.command()
def forget(name: Annotated[str, typer.Argument(help="The sink's name.")]) -> None:
    """Keep outcomes for a sink no more: of one that is not run any longer."""
    from stopline.client.sync_client import StopClient  # noqa: PLC0415

    with StopClient() as client:
        if not client.sinks.forget(name):
            raise InvalidRequestError(f"there is no sink {name}")
    output.console.print(f"Nothing is kept for {name} any more.")


def _cells(one: SinkView) -> Iterator[str]:
    yield escape(one.name)
    yield str(one.readers)
    yield "?" if one.waiting is None else f"{one.waiting:,}"
    yield "-" if one.oldest_s is None else f"{one.oldest_s:,.0f} s"


async def _run() -> None:
    from stopline import AsyncStopClient, Settings  # noqa: PLC0415  # see list_
    from stopline_archive.archive import Archive  # noqa: PLC0415
    from stopline_archive.settings import ArchiveSettings  # noqa: PLC0415
    from stopline_outcomes.archiving import Archiving, take_out_for_ever  # noqa: PLC0415
    from stopline_outcomes.settings import CallbackSettings, SinkSettings  # noqa: PLC0415

    library, settings = Settings.load(), ArchiveSettings.load()
    callbacks, most = CallbackSettings.load(), SinkSettings.load().most
    archive = Archive(settings.address(library))
    library.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with AsyncStopClient(library) as client:
        kept: list[Keep] = [Archiving(archive)]
        told = _told(client, callbacks)
        if told is not None:
            kept.append(told[0])
        jobs: list[Sink | Sending] = [*_sinks(client, kept, most), *([told[1]] if told else [])]
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, _end, jobs)
        output.announce(f"outcomes: {', '.join(one.name for one in kept)}", "outcomes_started")
        old = take_out_for_ever(archive, settings.keep_days) if settings.keep_days else None
        retention = None if old is None else asyncio.create_task(old)
        try:
            await asyncio.gather(*(one.run() for one in jobs))
        finally:
            if retention is not None:
                retention.cancel()
                with suppress(asyncio.CancelledError):
                    await retention
            archive.close()


def _sinks(client: AsyncStopClient, kept: Sequence[Keep], most: int) -> list[Sink]:
    from stopline_outcomes.sink import Sink  # noqa: PLC0415

    return [Sink(client.sinks, one, _reader(), most) for one in kept]


def _told(client: AsyncStopClient, settings: CallbackSettings) -> tuple[Telling, Sending] | None:
    """What makes callbacks, and what sends them; None where no file says who is told."""
    if settings.file is None:
        return None
    from stopline_outcomes.callback_file import read  # noqa: PLC0415
    from stopline_outcomes.sending import Sending  # noqa: PLC0415
    from stopline_outcomes.telling import Telling  # noqa: PLC0415

    file = read(settings.file)
    return Telling(client.callbacks, file), Sending(client.callbacks, file, settings)


def _end(jobs: Sequence[Sink | Sending]) -> None:
    for one in jobs:
        one.end()


def _reader() -> str:
    """A name unlike that of any other process, a former one of this number included."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
