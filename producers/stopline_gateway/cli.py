"""The command `stopline gateway`: serve HTTP, make keys."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from stopline.cli import output
from stopline.cli.options import AsJson
from stopline.cli.supervisor import PYTHON, Supervisor
from stopline.errors import InvalidRequestError, InvalidSettingsError
from stopline.logs import configure_logging
from stopline.supervised import drain_with_supervisor

if TYPE_CHECKING:
    import socket

    from stopline_gateway.settings import GatewaySettings

app = typer.Typer(
    help="Serve HTTP: REST, CloudEvents, outcomes as they come.",
    invoke_without_command=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
key_app = typer.Typer(help="Keys of callers.", no_args_is_help=True, add_completion=False)
app.add_typer(key_app, name="key")
_NEEDED: Final = ("fastapi", "uvicorn", "httptools", "uvloop")


def require_gateway() -> None:
    """Say what to install where only the library is.

    Raises:
        InvalidSettingsError: the gateway's packages are not installed.
    """
    if any(find_spec(name) is None for name in _NEEDED):
        raise InvalidSettingsError(
            "The gateway's packages are not installed: install the extra 'gateway' (in a checkout: "
            "pip install '.[gateway]')"
        )


@app.callback()
def gateway(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option(help="Where to listen; else the settings say.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0: any free one.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="Processes.")] = None,
    descriptor: Annotated[int | None, typer.Option("--fd", hidden=True)] = None,
) -> None:
    """Serve HTTP: REST, CloudEvents, outcomes as they come."""
    if context.invoked_subcommand is not None:
        return
    require_gateway()
    from stopline_gateway import serving  # noqa: PLC0415  # only where it is installed
    from stopline_gateway.keys_file import read_keys  # noqa: PLC0415
    from stopline_gateway.settings import GatewaySettings  # noqa: PLC0415

    configure_logging("info")
    settings = GatewaySettings.load(host=host, port=port, workers=workers)
    if descriptor is not None:
        drain_with_supervisor()
        serving.serve(serving.inherited(descriptor), settings)
        return
    settings.check_access(None if settings.keys_file is None else read_keys(settings.keys_file))
    with serving.listen(settings) as listener:
        asked = "keys are asked for" if settings.keys_file else "open to this machine, without keys"
        url = serving.url_of(listener)
        output.announce(f"gateway: {url} ({asked})", "gateway_started")
        output.announce(f"console: {url}/console/", "gateway_started")
        if settings.workers == 1:
            drain_with_supervisor()
            serving.serve(listener, settings)
        else:
            _serve_with_several(listener, settings)


def _serve_with_several(listener: socket.socket, settings: GatewaySettings) -> None:
    """Have several processes accept from one socket, and start again those that die."""
    import signal  # noqa: PLC0415  # only here

    supervisor = Supervisor(drain_s=settings.drain_s)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.request_stop())
    drain_with_supervisor()
    descriptor = listener.fileno()
    command = [*PYTHON, "-m", "stopline.cli", "gateway", "--fd", str(descriptor)]
    command += ["--host", settings.host, "--port", str(settings.port)]
    try:
        for one in range(settings.workers):
            supervisor.add(f"gateway {one + 1}", command, pass_fds=(descriptor,))
        code = supervisor.watch()
    finally:
        listener.close()  # else new connections would wait in it for nobody
        supervisor.stop()
    if code is not None:
        raise typer.Exit(code)


@key_app.command("new")
def new(
    source: Annotated[str, typer.Option(help="Whom it speaks for, and for nobody else.")],
    scope: Annotated[
        str, typer.Option(help="What it may do: of stop, bulk, read and operate, with commas.")
    ] = "stop,read",
    rate: Annotated[
        str | None, typer.Option(help="How often: 100/s, 600/m, 20/s,burst=100.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="The keys file, to add its line to.", dir_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key; it is shown once. The file has its hash only."""
    from stopline_gateway.keys import Scope, new_key  # noqa: PLC0415  # only here

    scopes = []
    for word in dict.fromkeys(scope.split(",")):
        try:
            scopes.append(Scope(word.strip()))
        except ValueError:
            names = ", ".join(Scope)
            raise InvalidRequestError(
                f"--scope: {word.strip()!r} is none of {names}", field="scope"
            ) from None
    made = new_key(source, tuple(scopes), rate)
    line = made.line.to_line()
    if file is not None:
        _append(file, line)
    if as_json:
        output.print_json({"key": made.key, "line": line})
        return
    sys.stdout.write(f"{made.key}\n")
    if file is not None:
        output.say(f"Its line was added to {file}. The key is shown this once.")
    else:
        output.say("The key is shown this once. Its line for the keys file:")
        sys.stdout.write(f"{line}\n")


@key_app.command("check")
def check(
    file: Annotated[
        Path | None, typer.Argument(help="The keys file; else that of the settings.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whose keys are in a file, or what is wrong with it, before a gateway reads it."""
    from stopline_gateway.keys_file import read_keys  # noqa: PLC0415  # only here
    from stopline_gateway.settings import PREFIX, GatewaySettings  # noqa: PLC0415

    path = file or GatewaySettings.load().keys_file
    if path is None:
        raise InvalidRequestError(f"name the keys file, or set {PREFIX}KEYS_FILE")
    for key in read_keys(path).values():
        if as_json:
            output.print_json(key.model_dump(mode="json", exclude={"sha256"}))
        else:
            output.print_block((key.id, key.source, ",".join(key.scopes), key.rate), None)


def _append(path: Path, line: str) -> None:
    """Add a line to a file, which nobody else may write."""
    import os  # noqa: PLC0415  # only here

    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                line = line if file.read(1) == b"\n" else f"\n{line}"
            file.write(f"{line}\n".encode())
    except OSError as error:
        raise InvalidSettingsError(f"cannot write {path}: {error.strerror}") from None
