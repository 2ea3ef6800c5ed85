"""The demo: the whole system on one machine, with tasks that fail on purpose."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Column, Table
from rich.text import Text

from stopline.cli import output
from stopline.cli.options import AsJson
from stopline.cli.simulating import SimulatedApi
from stopline.cli.supervisor import Supervisor
from stopline.cli.workers import require_worker, start_workers
from stopline.client.sync_client import StopClient
from stopline.contract import Lane, OpenRequest, Outcome, OutcomeKind, Receipt, ReceiptKind
from stopline.errors import OutcomeTimeoutError
from stopline.exits import Exit
from stopline.servers.embedded import EmbeddedServer
from stopline.settings.model import Durability, Settings
from stopline.settings.names import SettingsFields
from stopline.texts import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN: Final = "demo-token"  # noqa: S105  # the simulated API's, which anybody may know
_USER: Final = "5832d184-dd53-42a0-8ace-0bf8d660f4cc"
_FAULTS: Final[list[dict[str, Any]]] = [
    {"task_id": "flaky", "replies": [{"http_status": 500, "times": 2}]},
    {"task_id": "busy", "replies": [{"http_status": 429, "headers": {"Retry-After": "1"}}]},
    {"task_id": "forbidden", "replies": [{"http_status": 400}], "for_ever": True},
    {"task_id": "unknown", "replies": [{"body": {"status": "error", "code": 404}}]},
    {"task_id": "broken", "replies": [{"text": "<html>"}], "for_ever": True},
    {"task_id": "away", "replies": [{"http_status": 503, "times": 6}]},
]
_SETTINGS: Final[SettingsFields] = {
    "max_attempts": 4,
    "backoff_base_s": 0.1,
    "backoff_cap_s": 0.5,
    "drain_s": 5,
}
_WAIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Case:
    """One task of the demo, what it shows, and how it should come out."""

    shows: str
    task_id: str
    receipt: ReceiptKind
    outcome: OutcomeKind
    attempts: int | None = None


_BEFORE: Final = (
    Case("stopped at once", "simple", ReceiptKind.ACCEPTED, OutcomeKind.STOPPED, 1),
    Case("in the emergency lane", "urgent", ReceiptKind.ACCEPTED, OutcomeKind.STOPPED, 1),
    Case("stopped after retries", "flaky", ReceiptKind.ACCEPTED, OutcomeKind.STOPPED, 3),
    Case("told to wait (429)", "busy", ReceiptKind.ACCEPTED, OutcomeKind.STOPPED, 2),
    Case("joined: one call for two", "simple", ReceiptKind.JOINED, OutcomeKind.STOPPED, 1),
    Case("rejected (400)", "forbidden", ReceiptKind.ACCEPTED, OutcomeKind.REJECTED, 1),
    Case("not found (code 404)", "unknown", ReceiptKind.ACCEPTED, OutcomeKind.NOT_FOUND, 1),
    Case("the API was away for long", "away", ReceiptKind.ACCEPTED, OutcomeKind.STOPPED, 7),
    Case("replies that settle nothing", "broken", ReceiptKind.ACCEPTED, OutcomeKind.EXHAUSTED, 4),
    Case("too late: expired", "late", ReceiptKind.ACCEPTED, OutcomeKind.EXPIRED, 0),
    Case("cancelled by somebody", "kept", ReceiptKind.ACCEPTED, OutcomeKind.CANCELLED, 0),
)
_AFTER: Final = (
    Case("an event from before the stop", "simple", ReceiptKind.SATISFIED, OutcomeKind.STOPPED, 0),
    Case("resumed since", "flaky", ReceiptKind.SUPERSEDED, OutcomeKind.SUPERSEDED, 0),
    Case("stopped again: a new wish", "simple", ReceiptKind.ACCEPTED, OutcomeKind.STOPPED, 1),
)


def demo(
    console: Annotated[
        bool, typer.Option("--console", help="Keep running with a lively mix, for the console.")
    ] = False,
    port: Annotated[int, typer.Option(help="Of the console; 0: any free one.")] = 8077,
    as_json: AsJson = False,
) -> None:
    """Run the whole system on this machine and show what becomes of a sample of tasks."""
    require_worker()
    if console:
        from stopline.cli.lively import run_lively  # noqa: PLC0415  # only then

        run_lively(port)
        return
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stopline-demo-")))
        output.say("starting: embedded server, simulated API, workers …")
        fsync = Settings.load(**_SETTINGS).durability is Durability.FSYNC
        server = stack.enter_context(EmbeddedServer(directory / "data", fsync=fsync))
        api_url = stack.enter_context(SimulatedApi(directory, _FAULTS, _TOKEN))
        ours: SettingsFields = {
            **_SETTINGS,
            "redis_url": server.url,
            "broker_url": server.url,
        }
        settings = Settings.load(**ours)
        client = stack.enter_context(StopClient(settings))
        early = _submit_early(client)
        log = stack.enter_context((directory / "workers.log").open("wb"))
        supervisor = Supervisor(_environment(server.url, api_url), drain_s=5, log=log)
        stack.callback(supervisor.stop)
        start_workers(supervisor, 1, "info")
        rows = [(case, receipt, _wait(client, receipt)) for case, receipt in early]
        rows += [(case, one, _wait(client, one)) for case, one in _submit_late(client)]
        good = [_as_expected(*row) for row in rows]
        if not all(good):
            output.say((directory / "workers.log").read_text("utf-8", "replace")[-4000:])
    _print(rows, good, as_json=as_json)
    output.say(f"{sum(good)} of {len(good)} came out as they should")
    if not all(good):
        raise typer.Exit(Exit.NOT_ALL_STOPPED)


def _environment(redis_url: str, api_url: str) -> dict[str, str]:
    return {
        "STOPLINE_REDIS_URL": redis_url,
        "STOPLINE_BROKER_URL": redis_url,
        "STOPLINE_API_URL": api_url,
        "STOPLINE_API_TOKEN": _TOKEN,
        **{f"STOPLINE_{name.upper()}": str(value) for name, value in _SETTINGS.items()},
    }


def _submit_early(client: StopClient) -> list[tuple[Case, Receipt]]:
    """Requests that are there before any worker runs, so that joining is no matter of luck."""
    receipts = []
    for case in _BEFORE:
        fields: dict[str, Any] = {"source": "demo", "reason": case.shows}
        if case.task_id == "late":
            fields["not_after"] = datetime.now(UTC) + timedelta(seconds=0.3)
        if case.task_id == "urgent":
            fields["lane"] = Lane.EMERGENCY
        receipts.append((case, client.stop(_USER, case.task_id, **fields)))
        if case.task_id == "kept":
            client.cancel(receipts[-1][1].request_id, by="demo")
    return receipts


def _submit_late(client: StopClient) -> Iterator[tuple[Case, Receipt]]:
    """Requests about targets that were stopped before."""
    earlier = datetime.now(UTC) - timedelta(minutes=5)
    satisfied, superseded, again = _AFTER
    yield satisfied, client.stop(_USER, satisfied.task_id, source="demo", issued_at=earlier)
    client.resumed(_USER, superseded.task_id)
    yield superseded, client.stop(_USER, superseded.task_id, source="demo", issued_at=earlier)
    yield again, client.stop(_USER, again.task_id, source="demo")


def _wait(client: StopClient, receipt: Receipt) -> Outcome | OpenRequest:
    try:
        return client.wait(receipt.request_id, _WAIT_S)
    except OutcomeTimeoutError:
        return client.status(receipt.request_id)


def _as_expected(case: Case, receipt: Receipt, status: Outcome | OpenRequest) -> bool:
    return (
        receipt.receipt is case.receipt
        and status.outcome is case.outcome
        and (case.attempts is None or len(status.attempts) == case.attempts)
    )


def _print(
    rows: list[tuple[Case, Receipt, Outcome | OpenRequest]], good: list[bool], *, as_json: bool
) -> None:
    if as_json:
        output.print_json([status.to_json() for _, _, status in rows])
        return
    table = Table("what", "receipt", "outcome", "calls", Column("detail", overflow="fold"), "")
    for (case, receipt, status), fine in zip(rows, good, strict=True):
        table.add_row(
            case.shows,
            output.styled(receipt.receipt),
            output.styled(status.outcome or "open"),
            str(len(status.attempts)),
            Text(shown(status.detail)) if isinstance(status, Outcome) else "",
            Text("ok") if fine else Text("unexpected", style="red"),
        )
    output.console.print(table)
