"""The bulk command: a file of stop requests as one batch."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from stopline.bulk import reading
from stopline.bulk.lines import Line, LineError
from stopline.bulk.reading import Format, Scan
from stopline.bulk.rejected import RejectedFile
from stopline.bulk.sending import Report, rehearse, send
from stopline.cli import files, output
from stopline.cli.options import AsJson, TimeoutS
from stopline.cli.watching import watch_batch
from stopline.client.sync_client import StopClient
from stopline.contract import Batch, BatchHead, Lane, OutcomeKind, ReceiptKind, is_identifier
from stopline.errors import InvalidRequestError, LedgerFullError, UnavailableError
from stopline.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress

_SHOWN_ERRORS = 5


def bulk(  # noqa: PLR0913, PLR0917  # each is an option
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="CSV, JSON lines or a JSON array; - is stdin.")
    ],
    how: Annotated[Format | None, typer.Option("--format", help="Guessed if left out.")] = None,
    batch_id: Annotated[str | None, typer.Option(help="A hash of the content if left out.")] = None,
    lane: Annotated[Lane, typer.Option(help="For lines that name none.")] = Lane.BULK,
    source: Annotated[str, typer.Option(help="For lines that name none.")] = "bulk",
    reason: Annotated[str | None, typer.Option(help="For lines that name none.")] = None,
    name: Annotated[
        str | None, typer.Option(help="What people call the batch; FILE's name if left out.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="One bad line: send nothing.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing: tell what would become of each line.")
    ] = False,
    rejected: Annotated[
        Path | None,
        typer.Option(
            "--rejected", help="Where refused lines go; beside FILE if left out.", dir_okay=False
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcomes.")] = False,
    timeout_s: TimeoutS = None,
    as_json: AsJson = False,
) -> None:
    """Stop many tasks; the same file again resumes what was interrupted and doubles nothing."""
    _check_options(batch_id, rejected, waits=wait, limits_its_wait=timeout_s is not None)
    defaults = {"lane": lane, "source": source} | ({} if reason is None else {"reason": reason})
    with files.opened(file) as opened, reading.seekable(opened) as stream:
        scanned = files.scan(file, stream)
        job = _Job(
            stream,
            scanned,
            how or reading.guess_format(file, scanned),
            Report(batch_id or scanned.batch_id),
            BatchHead(name or _name_of(file), source, reason),
            defaults,
        )
        if strict:
            job.check()
        input_ = None if file == files.STDIN else Path(file)
        if dry_run:
            with _listed(rejected, input_) as listed:
                job.rehearse(listed, as_json=as_json)
            return
        place = rejected or _beside(file, job.batch_id)
        with RejectedFile(place, is_named=rejected is not None, source=input_) as refused:
            job.run(refused, wait=wait, timeout_s=timeout_s, as_json=as_json)


@contextmanager
def _listed(rejected: Path | None, source: Path | None) -> Iterator[RejectedFile | None]:
    """A dry run leaves no file, but where one was named."""
    if rejected is None:
        yield None
        return
    with RejectedFile(rejected, is_named=True, source=source) as refused:
        yield refused


def _check_options(
    batch_id: str | None, rejected: Path | None, *, waits: bool, limits_its_wait: bool
) -> None:
    if batch_id is not None and not is_identifier(batch_id):
        raise InvalidRequestError("--batch-id: 1 to 128 of the characters A-Z a-z 0-9 . _ ~ -")
    if limits_its_wait and not waits:
        raise InvalidRequestError("--timeout goes with --wait")
    if rejected is not None and str(rejected) == files.STDIN:
        raise InvalidRequestError("--rejected names a file; - is for FILE alone")


def _name_of(file: str) -> str | None:
    """The name of the file, as far as a name of a batch can be it."""
    name = "".join(one for one in Path(file).name if one.isprintable())[:200]
    return name if file != files.STDIN else None


def _beside(name: str, batch_id: str) -> Path:
    """Where refused lines go: beside a file; for what is none (a pipe, stdin), here."""
    path = Path(name)
    stem = name if name != files.STDIN and path.is_file() else batch_id
    return Path(f"{stem}.rejected.jsonl")


class _Job:
    """One run of the command."""

    def __init__(
        self,
        stream: IO[bytes],
        scanned: Scan,
        how: Format,
        report: Report,
        head: BatchHead,
        defaults: dict[str, Any],
    ) -> None:
        self._head = head
        self._stream = stream
        self._scanned = scanned
        self._how = how
        self._defaults = defaults
        self._report = report

    @property
    def batch_id(self) -> str:
        """The batch that the lines make."""
        return self._report.batch_id

    @property
    def _count(self) -> int | None:
        """How many lines there are, where that is known without reading them."""
        if self._how is Format.JSON:
            return None
        return max(0, self._scanned.lines - (self._how is Format.CSV))

    def _lines(self) -> Iterator[Line | LineError]:
        self._stream.seek(0)
        return reading.read(self._stream, self._how, self._report.batch_id, self._defaults)

    def check(self) -> None:
        """Read every line and send nothing; bad lines end the command."""
        lines, errors, shown = 0, 0, []
        for line in self._lines():
            lines += 1
            if isinstance(line, LineError):
                errors += 1
                if errors <= _SHOWN_ERRORS:
                    shown.append(str(line))
        if errors:
            more = f"\n… and {errors - len(shown)} more" if errors > len(shown) else ""
            raise InvalidRequestError(
                f"{errors} of {lines} lines are bad; nothing was sent.\n" + "\n".join(shown) + more
            )

    def rehearse(self, refused: RejectedFile | None, *, as_json: bool) -> None:
        """Tell what would become of the lines now, and send nothing."""
        shown: list[LineError] = []

        def reject(line: LineError) -> None:
            if refused is not None:
                refused.write(line)
            if len(shown) < _SHOWN_ERRORS:
                shown.append(line)

        with StopClient() as client, output.progress() as progress:
            bar = progress.add_task("looking", total=self._count)
            rehearse(
                client,
                self._lines(),
                self._report,
                reject=reject,
                advance=lambda count: progress.advance(bar, count),
            )
        report = self._report
        counts = {str(kind): report.receipts[kind] for kind in ReceiptKind}
        if as_json:
            lines = report.receipts.total() + report.rejected
            known = {"batch_id": report.batch_id, "dry_run": True, "lines": lines, "sent": 0}
            output.print_json({**known, "receipts": counts, "refused": report.rejected})
        else:
            output.console.print(f"Batch {report.batch_id}, a dry run: nothing was sent. Now it")
            output.console.print("would come to:")
            output.print_counts({**counts, "refused lines": report.rejected}, as_json=False)
        for line in shown:
            output.say(str(line))
        if report.rejected > len(shown):
            output.say(
                f"… and {report.rejected - len(shown)} more (--rejected FILE writes them all)"
            )
        if report.rejected:
            raise typer.Exit(Exit.NOT_ALL_STOPPED)

    def run(
        self, refused: RejectedFile, *, wait: bool, timeout_s: float | None, as_json: bool
    ) -> None:
        """Send the lines, wait if asked to, print the report, and set the exit code."""
        with StopClient() as client, output.progress() as progress:
            self._send(client, progress, refused)
            waits = wait and self._report.receipts.total() > 0
            batch = self._wait(client, progress, timeout_s) if waits else None
        self._print(batch, refused.path if self._report.rejected else None, as_json=as_json)
        not_stopped = batch is not None and batch.outcomes[OutcomeKind.STOPPED] != batch.total
        if self._report.rejected or not_stopped:
            raise typer.Exit(Exit.NOT_ALL_STOPPED)

    def _send(self, client: StopClient, progress: Progress, refused: RejectedFile) -> None:
        bar = progress.add_task("sending", total=self._count)
        try:
            lines = self._lines()
            first = next(lines, None)  # before it a file may turn out to be none
            if first is None:
                return
            client.batches.open(self.batch_id, self._head)
            send(
                client,
                chain([first], lines),
                self._report,
                reject=refused.write,
                advance=lambda count: progress.advance(bar, count),
            )
        except (UnavailableError, LedgerFullError, KeyboardInterrupt):
            output.say(
                f"stopline: batch {self._report.batch_id}: {self._report.receipts.total()} lines "
                "were accepted before this; send the same file again to go on"
            )
            raise

    def _wait(self, client: StopClient, progress: Progress, timeout_s: float | None) -> Batch:
        try:
            return watch_batch(client, self.batch_id, progress, timeout_s)
        except (UnavailableError, KeyboardInterrupt):
            output.say(
                "stopline: the requests go on; look again with 'stopline batch "
                f"{self._report.batch_id}'"
            )
            raise

    def _print(self, batch: Batch | None, rejected: Path | None, *, as_json: bool) -> None:
        report = self._report
        if as_json:
            output.print_json(
                {
                    "batch_id": report.batch_id,
                    "sent": report.sent,
                    "receipts": dict(report.receipts),
                    "rejected": report.rejected,
                    "rejected_file": str(rejected) if rejected else None,
                    "batch": batch.to_json() if batch else None,
                }
            )
            return
        if not report.receipts and not report.rejected:
            output.console.print("There are no lines in it: nothing was sent.")
            return
        counts = {str(kind): count or None for kind, count in report.receipts.items()}
        refused = f"{report.rejected} → {rejected}" if rejected else None
        output.console.print(
            output.facts({"batch": report.batch_id, **counts, "refused lines": refused})
        )
        if not report.sent and report.receipts:
            output.console.print(
                "Every line was sent before: nothing new was sent, whatever became of its target "
                "since. To stop them anew, give another --batch-id."
            )
        if batch is not None:
            output.print_batch(batch)
            if batch.outcomes[OutcomeKind.STOPPED] != batch.total:
                output.say(f"Which ones: stopline dead list --batch {report.batch_id}")
