"""The command `stopline bridge`: read a stream of events."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from stopline.cli import output
from stopline.cli.options import AsJson
from stopline.errors import InvalidRequestError, InvalidSettingsError
from stopline.exits import Exit
from stopline.logs import configure_logging
from stopline.supervised import drain_with_supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopline_events.bridge import Progress
    from stopline_events.settings import BridgeSettings
    from stopline_events.sources.port import Source

app = typer.Typer(
    help="Read a stream of events: Redis, NATS, Kafka, or standard input.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Group = Annotated[
    str | None, typer.Option(help="Consumer group, or durable consumer; else the settings say.")
]


@app.command("redis-stream")
def redis_stream(
    stream: Annotated[str, typer.Argument(help="The stream's key.")],
    group: Group = None,
    consumer: Annotated[
        str | None, typer.Option(help="This reader's name; the host's if left out.")
    ] = None,
) -> None:
    """Read a Redis stream, at STOPLINE_BRIDGE_URL (else STOPLINE_REDIS_URL)."""
    settings = _settings(group)

    def source() -> Source:
        from stopline.servers.redis_server import RedisServer  # noqa: PLC0415  # see _settings
        from stopline.settings.model import Settings  # noqa: PLC0415
        from stopline.wiring import ledger_server_of  # noqa: PLC0415
        from stopline_events.sources.redis_stream import RedisStream  # noqa: PLC0415

        library = Settings.load()
        own = settings.url is not None or settings.url_file is not None
        server = RedisServer.of(settings.address(), library) if own else ledger_server_of(library)
        name = consumer or socket.gethostname()
        return RedisStream(server, stream, settings.group, name, settings.claim_after_s)

    _run(source, settings)


@app.command("nats")
def nats(
    stream: Annotated[str, typer.Argument(help="The JetStream stream.")],
    subject: Annotated[str | None, typer.Option(help="Only this subject; all if left out.")] = None,
    group: Group = None,
) -> None:
    """Read a NATS JetStream stream, at STOPLINE_BRIDGE_URL."""
    settings = _settings(group)
    _require("nats")

    def source() -> Source:
        from stopline_events.sources.nats import NatsJetStream  # noqa: PLC0415  # see _settings

        return NatsJetStream(
            settings.address(),
            stream,
            subject,
            settings.group,
            settings.claim_after_s,
            settings.nats_credentials_file,
        )

    _run(source, settings)


@app.command("kafka")
def kafka(
    topics: Annotated[list[str], typer.Argument(help="The topics.")],
    servers: Annotated[str, typer.Option(help="Brokers: host:port, with commas between them.")],
    group: Group = None,
) -> None:
    """Read topics of Kafka."""
    settings = _settings(group)
    _require("aiokafka")

    def source() -> Source:
        from stopline_events.sources.kafka import Kafka  # noqa: PLC0415  # see _settings

        options = settings.kafka_options()
        return Kafka(servers, topics, settings.group, settings.claim_after_s, options)

    _run(source, settings)


@app.command("stdin")
def stdin(as_json: AsJson = False) -> None:
    """Read JSON lines from standard input, to its end."""
    settings = _settings(None)

    def source() -> Source:
        from stopline_events.sources.standard_input import StandardInput  # noqa: PLC0415

        return StandardInput(sys.stdin.buffer)

    progress, is_over = _run(source, settings, is_supervised=False)
    if as_json:
        output.print_json(progress.counts)
    else:
        output.console.print(output.facts(progress.counts))
    if not is_over:
        output.say(f"stopline: ended after {progress.position or 'no line'}; the rest was not read")
    if progress.counts["quarantined"] or not is_over:
        raise typer.Exit(Exit.NOT_ALL_STOPPED)


def _settings(group: str | None) -> BridgeSettings:
    from stopline_events.settings import BridgeSettings  # noqa: PLC0415  # --help needs none of it

    return BridgeSettings.load(group=group)


def _require(name: str) -> None:
    """Say what to install where only the library is."""
    if find_spec(name) is None:
        raise InvalidSettingsError(
            "The bridge's packages are not installed: install the extra 'events' (in a checkout: "
            "pip install '.[events]')"
        )


def _run(
    source: Callable[[], Source], settings: BridgeSettings, *, is_supervised: bool = True
) -> tuple[Progress, bool]:
    """Run a bridge; what became of its messages, and whether it read to the end."""
    configure_logging("info")
    if is_supervised:
        drain_with_supervisor()
    return asyncio.run(_bridge(source, settings))


async def _bridge(source: Callable[[], Source], settings: BridgeSettings) -> tuple[Progress, bool]:
    from stopline import AsyncStopClient, Settings  # noqa: PLC0415  # see _settings
    from stopline_events.bridge import Bridge  # noqa: PLC0415
    from stopline_events.policy import Policy, PolicySettings  # noqa: PLC0415

    async with AsyncStopClient(Settings.load()) as client:
        policy = Policy(client, PolicySettings.load())
        try:
            made = source()
        except ValueError as error:
            raise InvalidRequestError(str(error)) from None
        bridge = Bridge(client, made, together=settings.together, policy=policy)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, bridge.end)
        output.announce(f"bridge: {made.name} as {settings.group}", "bridge_started")
        await bridge.run()
        return bridge.progress, made.is_over
