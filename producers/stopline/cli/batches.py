"""The commands `batches …`: see, pause, let go on, cancel, send again, report, undo."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from stopline.bulk.reporting import REPORT, UNDO, ReportFormat, Sheet
from stopline.cli import output
from stopline.cli.options import AsJson, ByOperator, operator
from stopline.client.sync_client import StopClient
from stopline.contract import OutcomeKind
from stopline.texts import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from stopline.contract import Batch, BatchLine

app = typer.Typer(
    help="See the last batches; pause, cancel or undo one; what became of each line.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_BatchId = Annotated[str, typer.Argument(metavar="BATCH_ID", help="The id that 'bulk' printed.")]
_AsLines = Annotated[bool, typer.Option("--json", help="Print JSON lines instead of CSV.")]
_PAGE = 250


@app.command(name="list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many to show.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the last batches (STOPLINE_RECENT_MAX), the newest first."""
    with StopClient() as client:
        found = list(_last(client, limit))
    if as_json:
        for one in found:
            output.print_json(one.to_json())
    elif found:
        output.console.print(_table(found))
    else:
        output.say("There are none.")


@app.command()
def pause(
    batch_id: _BatchId,
    reason: Annotated[str, typer.Option(help="Why, for all who look.")],
    by: ByOperator = None,
    as_json: AsJson = False,
) -> None:
    """Let a batch wait, what of it is still to be sent too; calls under way finish.

    What somebody else asked for, too, goes on. Requests expire as ever.
    """
    with StopClient() as client:
        found = client.batches.pause(
            batch_id, reason=reason, by=operator().name if by is None else by, actor=operator()
        )
    if not found.pending and not as_json:
        output.say("all that was sent of it has ended already; what is still to come waits")
    output.show_batch(found, as_json=as_json)


@app.command()
def resume(batch_id: _BatchId, as_json: AsJson = False) -> None:
    """Let a paused batch go on."""
    with StopClient() as client:
        if client.batch(batch_id).paused is None and not as_json:
            output.say(f"batch {batch_id} was not paused")
        found = client.batches.resume(batch_id, actor=operator())
    output.show_batch(found, as_json=as_json)


@app.command()
def cancel(batch_id: _BatchId, by: ByOperator = None, as_json: AsJson = False) -> None:
    """Cancel every request of a batch that is open, for those who joined them too.

    It is paused until all are cancelled; what is sent of it afterwards goes on.
    """
    with StopClient() as client:
        actor = operator()
        counts = client.cancel_batch(batch_id, by=actor.name if by is None else by, actor=actor)
    output.print_counts(counts, as_json=as_json)


@app.command()
def redrive(
    batch_id: _BatchId,
    outcome: Annotated[
        list[OutcomeKind] | None, typer.Option(help="Only what ended so; may be repeated.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Only where the outcome's detail has this text.")
    ] = None,
    by: ByOperator = None,
    as_json: AsJson = False,
) -> None:
    """Send again what of a batch is among the dead letters, each as a new request of yours."""
    with StopClient() as client:
        receipts = client.batches.redrive(
            batch_id,
            by=operator().name if by is None else by,
            outcomes=outcome or (),
            reason=reason,
            actor=operator(),
        )
    counts = Counter(str(one.receipt) for one in receipts.values())
    if receipts or as_json:
        output.print_counts({"redriven": len(receipts), **counts}, as_json=as_json)
    else:
        output.say(f"nothing of batch {batch_id} is among the dead letters")


@app.command()
def report(
    batch_id: _BatchId,
    outcome: Annotated[OutcomeKind | None, typer.Option(help="Only lines that ended so.")] = None,
    as_json: _AsLines = False,
) -> None:
    """Print every line of a batch with its outcome, or its state until there is one, as CSV."""
    with StopClient() as client:
        lines = _counted(client.batches.report(batch_id), client.batch(batch_id).total)
        _print(REPORT, (one for one in lines if outcome in {None, one.outcome}), as_json=as_json)


@app.command()
def undo(batch_id: _BatchId, as_json: _AsLines = False) -> None:
    """Print the targets that a batch really stopped, as CSV for whoever resumes them.

    Stopped by a call of its own, not stopped before, not resumed since; not what it shares with
    others. What it did not name, and why, is told on stderr.
    """
    with StopClient() as client:
        batch = client.batch(batch_id)
        _print(UNDO, client.batches.undo(batch_id), as_json=as_json)
        notes = _not_named(client.batches.report(batch_id), batch)
    for note in notes:
        output.say(note)


def _not_named(lines: Iterable[BatchLine], batch: Batch) -> Iterator[str]:
    """What undo leaves out, and may be paused all the same, in sentences."""
    earlier, unclear, kept = 0, 0, 0
    clear = {None, OutcomeKind.STOPPED, OutcomeKind.REJECTED}
    for one in lines:
        earlier += one.stopped_before is not None
        unclear += bool(one.attempts) and one.outcome not in clear
        kept += one.state is not None or one.outcome is not None
    if earlier:
        yield f"{earlier:,} were stopped before, and nobody told of a resume (stopped_before)."
    if unclear:
        yield f"{unclear:,} were called for, and ended otherwise: some may be paused all the same."
    if batch.total > kept:
        yield f"Of {batch.total - kept:,} nothing is kept any more (STOPLINE_RESULT_TTL_S)."
    if batch.pending:
        yield (
            f"{batch.pending:,} are still open and may yet be stopped; to prevent that: "
            f"stopline batches cancel {batch.batch_id}"
        )


def _last(client: StopClient, limit: int) -> Iterator[Batch]:
    until: datetime | None = None
    while limit > 0:
        some, until = client.view.batches(until=until, limit=min(limit, _PAGE))
        yield from some
        limit -= len(some)
        if until is None:
            return


def _table(batches: list[Batch]) -> Table:
    table = Table("batch", "begun (UTC)", box=None, pad_edge=False)
    for name in ("lines", "open", "stopped", "else"):
        table.add_column(name, justify="right")
    for one in batches:
        stopped = one.outcomes[OutcomeKind.STOPPED]
        counts = (one.total, one.pending, stopped, one.total - one.pending - stopped)
        begun = f"{one.submitted_at:%m-%d %H:%M:%S}"
        words = [one.batch_id, *(["(paused)"] if one.paused else [])]
        named = Text(" ".join(words) + (f"\n  {shown(one.name)}" if one.name else ""))
        table.add_row(named, begun, *(f"{count:,}" for count in counts))
    return table


def _counted(lines: Iterable[BatchLine], total: int) -> Iterator[BatchLine]:
    seen = 0
    with output.progress() as bars:
        bar = bars.add_task("lines", total=total)
        for seen, one in enumerate(lines, 1):  # noqa: B007  # the last one counts
            yield one
            bars.advance(bar)
    if seen < total:
        output.say(f"Of {total - seen:,} lines nothing is kept any more (STOPLINE_RESULT_TTL_S).")


def _print(sheet: Sheet, lines: Iterable[BatchLine], *, as_json: bool) -> None:
    form = ReportFormat.JSONL if as_json else ReportFormat.CSV
    sys.stdout.write(sheet.head(form))
    for one in lines:
        sys.stdout.write(sheet.text(form, [one]))
