"""The command line `stopline`."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Final

import typer

from stopline.cli.lazy import LazyGroup
from stopline.errors import StoplineError
from stopline.exits import Exit, exit_code

COMMANDS: Final = {
    "demo": (
        "stopline.cli.demo:demo",
        "Run the whole system on this machine and show what becomes of a sample of tasks.",
    ),
    "up": (
        "stopline.cli.workers:up",
        "Run everything in the foreground: embedded server, workers, the gateway, the archive.",
    ),
    "worker": (
        "stopline.cli.workers:worker",
        "Run Celery workers for some lanes, in this process's place.",
    ),
    "gateway": (
        "stopline_gateway.cli:app",
        "Serve HTTP: REST, CloudEvents, outcomes as they come.",
    ),
    "bridge": (
        "stopline_events.cli:app",
        "Read a stream of events: Redis, NATS, Kafka, or standard input.",
    ),
    "stop": (
        "stopline.cli.requests:stop",
        "Stop one task; prints the receipt, with --wait the outcome.",
    ),
    "bulk": (
        "stopline.cli.bulk:bulk",
        "Stop many tasks; the same file again resumes what was interrupted and doubles nothing.",
    ),
    "status": (
        "stopline.cli.requests:status",
        "Show where a request is, or its outcome, with every attempt.",
    ),
    "list": (
        "stopline.cli.listing:list_",
        "List open requests, those first that are due first; or the last that ended.",
    ),
    "batch": ("stopline.cli.requests:batch", "Show the progress and the report of a batch."),
    "batches": (
        "stopline.cli.batches:app",
        "See the last batches; pause, cancel or undo one; what became of each line.",
    ),
    "cancel": ("stopline.cli.requests:cancel", "Cancel a request, or every request of a batch."),
    "resumed": (
        "stopline.cli.resuming:resumed",
        "Tell that a task was resumed: stops issued before are superseded.",
    ),
    "lane": ("stopline.cli.lanes:app", "Pause a lane, let it go on, see which are paused."),
    "policy": (
        "stopline_events.policy_cli:app",
        "Rules over events: check a file, try it on events, run it on a stream.",
    ),
    "guard": (
        "stopline.cli.guards:app",
        "Keep back sources that go wild: apply a file of guards, see them, reset one.",
    ),
    "held": ("stopline.cli.held:app", "Look at what guards hold, let it go, or drop it."),
    "dead": (
        "stopline.cli.dead:app",
        "Look at what was not stopped, send it again, or drop it.",
    ),
    "history": (
        "stopline_archive.cli:history",
        "Show what became of requests, from the archive: who stopped a task, when and why.",
    ),
    "outcomes": (
        "stopline_outcomes.cli:app",
        "What leaves: outcomes go into the archive, and to who wants to be told.",
    ),
    "callbacks": (
        "stopline.cli.callbacks:app",
        "Callbacks: how many wait, which were given up; send them again, or drop them.",
    ),
    "audit": (
        "stopline.cli.audit:audit",
        "Show who changed what through a service, the newest first.",
    ),
    "simulate-api": (
        "stopline.cli.workers:simulate_api",
        "Run a real HTTP server that behaves like the upstream, with scripted faults.",
    ),
    "top": (
        "stopline.cli.top:top",
        "Show lanes, rates, times to stop and workers, live; q ends it.",
    ),
    "watch": (
        "stopline.cli.requests:watch",
        "Watch a batch until all of it has ended; exit 1 if not all was stopped.",
    ),
    "health": (
        "stopline.cli.health:health",
        "Say which part of the workers stands still; exit 1 if one does, 3 without Redis.",
    ),
    "doctor": (
        "stopline.cli.doctor:doctor",
        "Check settings, Redis, broker and API; never makes a stop call.",
    ),
}
"""Where each command is, and the first sentence of its help: `--help` loads none of them."""


class _Stopline(LazyGroup):
    commands_by_name = COMMANDS


app = typer.Typer(
    cls=_Stopline,
    help="Reliable task_stop calls. Exit codes: 0 done; 1 not all stopped, lines refused, or "
    "(health) a worker stands still; 2 bad usage, input or settings; 3 Redis, broker or API out of "
    "reach; 4 idempotency conflict; 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        import stopline  # noqa: PLC0415  # only who asks for it needs it

        typer.echo(f"stopline {stopline.__version__}")
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
    try:
        from stopline.logs import configure_logging  # noqa: PLC0415  # only for who runs it

        configure_logging("warning")
        _check_arguments()
        app()
    except StoplineError as error:
        _end(f"stopline: {error}", exit_code(error))
    except BrokenPipeError:
        # `stopline dead list | head`: the reader has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)  # as shells have it: 128 and the number of SIGINT
    except OSError as error:
        # A full disk, no file descriptors left: nothing that a traceback would explain.
        where = f" ({error.filename})" if error.filename else ""
        sys.stderr.write(f"stopline: {error.strerror or error}{where}\n")
        sys.exit(Exit.UNAVAILABLE)


def _check_arguments() -> None:
    for number, argument in enumerate(sys.argv[1:], 1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            _end(f"stopline: argument {number} is no UTF-8 text", Exit.BAD_INPUT)


def _end(text: str, code: int) -> None:
    from stopline.cli.output import say  # noqa: PLC0415  # only where there is something to say

    say(text)
    sys.exit(code)
