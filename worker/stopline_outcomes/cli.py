"""The commands `outcomes …`: run what leaves, see how far it is."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from stopline.cli import output
from stopline.cli.options import AsJson
from stopline.errors import InvalidRequestError, InvalidSettingsError
from stopline.logs import configure_logging
from stopline.supervised import drain_with_supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stopline.contract import SinkView
    from stopline_outcomes.sink import Sink

app = typer.Typer(
    help="What leaves: outcomes go into the archive, and to who wants to be told.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def run() -> None:
    """Read outcomes for every sink that is set up, until it is stopped."""
    _require()
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
    yield one.name
    yield str(one.readers)
    yield "?" if one.waiting is None else f"{one.waiting:,}"
    yield "-" if one.oldest_s is None else f"{one.oldest_s:,.0f} s"


def _require() -> None:
    if find_spec("sqlalchemy") is None or find_spec("alembic") is None:
        raise InvalidSettingsError(
            "The packages of what leaves are not installed: install the extra 'outcomes' (in a "
            "checkout: pip install '.[outcomes]')"
        )


async def _run() -> None:
    from stopline import AsyncStopClient, Settings  # noqa: PLC0415  # see list_
    from stopline_archive.archive import Archive  # noqa: PLC0415
    from stopline_archive.settings import ArchiveSettings  # noqa: PLC0415
    from stopline_outcomes.archiving import Archiving, take_out_for_ever  # noqa: PLC0415
    from stopline_outcomes.settings import SinkSettings  # noqa: PLC0415
    from stopline_outcomes.sink import Sink  # noqa: PLC0415

    library, settings = Settings.load(), ArchiveSettings.load()
    most = SinkSettings.load().most
    archive = Archive(settings.address(library))
    library.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with AsyncStopClient(library) as client:
        sinks = [Sink(client.sinks, Archiving(archive), _reader(), most)]
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _end, sinks)
        output.announce(f"outcomes: {', '.join(one.name for one in sinks)}", "outcomes_started")
        retention = (
            loop.create_task(take_out_for_ever(archive, settings.keep_days))
            if settings.keep_days
            else None
        )
        try:
            await asyncio.gather(*(one.run() for one in sinks))
        finally:
            if retention is not None:
                retention.cancel()
                with suppress(asyncio.CancelledError):
                    await retention
            archive.close()


def _end(sinks: Sequence[Sink]) -> None:
    for one in sinks:
        one.end()


def _reader() -> str:
    """A name unlike that of any other process, a former one of this number included."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
