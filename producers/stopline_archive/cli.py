"""The command `history`: what became of requests, for as long as the archive keeps it."""

from __future__ import annotations

import sys
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from stopline.cli import output
from stopline.cli.options import AsJson
from stopline.contract import OutcomeKind, parse_moment
from stopline.errors import InvalidRequestError
from stopline.settings.model import Settings
from stopline_archive.installed import require_installed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopline.contract import Outcome


def history(  # noqa: PLR0913, PLR0917  # each is an option
    task_id: Annotated[str | None, typer.Option(help="Only of this task.")] = None,
    user_id: Annotated[str | None, typer.Option(help="Only of this user.")] = None,
    source: Annotated[str | None, typer.Option(help="Only what this source asked for.")] = None,
    batch_id: Annotated[str | None, typer.Option("--batch", help="Only of this batch.")] = None,
    outcome: Annotated[OutcomeKind | None, typer.Option(help="Only what ended so.")] = None,
    since: Annotated[str | None, typer.Option(help="Ended since then (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="Ended before then (RFC 3339).")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="How many; 100 if left out, all with --csv.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what became of requests, from the archive: who stopped a task, when and why."""
    if as_csv and as_json:
        raise InvalidRequestError("give either --csv or --json")
    require_installed()
    from stopline_archive.opening import open_archive  # noqa: PLC0415  # --help needs none of it
    from stopline_archive.places import HistoryFilter  # noqa: PLC0415

    wanted = HistoryFilter(
        user_id,
        task_id,
        source,
        batch_id,
        outcome,
        parse_moment(since, "--since") if since else None,
        parse_moment(until, "--until") if until else None,
    )
    most = limit if limit is not None or as_csv else 100
    with closing(open_archive(Settings.load())) as archive:
        found = archive.search(wanted)
        if as_csv:
            _write_csv(islice(found, most))
        else:
            output.print_some(found, most or sys.maxsize, _print, as_json=as_json)


def _write_csv(found: Iterator[Outcome]) -> None:
    from stopline_archive import sheet  # noqa: PLC0415

    sys.stdout.write(sheet.head())
    for one in found:
        sys.stdout.write(sheet.row(one))


def _print(one: Outcome) -> None:
    target = "/".join(filter(None, (one.user_id, one.task_id, one.sub_user_id)))
    line = (f"{one.finished_at:%Y-%m-%d %H:%M:%S}Z", str(one.outcome), target)
    calls = f"{len(one.attempts)} call{'' if len(one.attempts) == 1 else 's'}"
    batch = f"batch {one.batch_id}" if one.batch_id else None
    reason = f"“{one.reason}”" if one.reason else None
    parts = (f"by {one.source}", reason, batch, calls, one.detail, one.request_id)
    output.print_block(line, " · ".join(part for part in parts if part))
