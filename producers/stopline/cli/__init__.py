"""The command line `stopline`."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from stopline.cli import bulk, dead, demo, doctor, health, requests, workers
from stopline.cli.exits import exit_code
from stopline.cli.output import say
from stopline.errors import StoplineError
from stopline.logs import configure_logging

app = typer.Typer(
    help="Reliable task_stop calls. Exit codes: 0 done; 1 not all stopped, lines refused, or "
    "(health) a worker stands still; 2 bad usage, input or settings; 3 Redis, broker or API out of "
    "reach; 4 idempotency conflict; 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("demo")(demo.demo)
app.command("up")(workers.up)
app.command("worker")(workers.worker)
app.command("stop")(requests.stop)
app.command("bulk")(bulk.bulk)
app.command("status")(requests.status)
app.command("batch")(requests.batch)
app.command("cancel")(requests.cancel)
app.command("resumed")(requests.resumed)
app.add_typer(dead.app, name="dead")
app.command("simulate-api")(workers.simulate_api)
app.command("health")(health.health)
app.command("doctor")(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stopline {version('stopline')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; every error of Stopline is one line and an exit code."""
    configure_logging("warning")
    try:
        app()
    except StoplineError as error:
        say(f"stopline: {error}")
        sys.exit(exit_code(error))
    except BrokenPipeError:
        # `stopline dead list | head`: the reader has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)  # as shells have it: 128 and the number of SIGINT
