"""The resumed command: tasks that run again, one or a file of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stopline.bulk import reading
from stopline.bulk.lines import LineError
from stopline.cli import files, output
from stopline.cli.options import AsJson, SubUserId, operator
from stopline.client.sync_client import StopClient
from stopline.contract import AuditAction, Target, parse_moment
from stopline.errors import InvalidRequestError

if TYPE_CHECKING:
    from datetime import datetime

_SHOWN_ERRORS = 5


def resumed(
    user_id: Annotated[
        str | None, typer.Argument(metavar="USER_ID", help="The user that owns the task.")
    ] = None,
    task_id: Annotated[
        str | None, typer.Argument(metavar="TASK_ID", help="The upstream task.")
    ] = None,
    sub_user_id: SubUserId = None,
    file: Annotated[
        str | None,
        typer.Option("--file", help="Many of them, as 'batches undo' writes them; - is stdin."),
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="When it was resumed (RFC 3339); now if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell that a task was resumed: stops issued before are superseded."""
    moment = parse_moment(at, "--at") if at else None
    if file is not None and user_id is sub_user_id is None:
        _file(file, moment, as_json=as_json)
    elif file is None and user_id is not None and task_id is not None:
        _one(Target(user_id, task_id, sub_user_id), moment, as_json=as_json)
    else:
        raise InvalidRequestError("give either USER_ID and TASK_ID, or --file")


def _one(target: Target, at: datetime | None, *, as_json: bool) -> None:
    with StopClient() as client:
        result = client.resumed(*target, at=at, actor=operator())
    if as_json:
        output.print_json(result.model_dump(mode="json"))
    else:
        superseded = ", ".join(result.superseded) or "nothing"
        output.console.print(
            output.facts({"superseded": superseded, "in flight": result.in_flight})
        )


def _file(name: str, at: datetime | None, *, as_json: bool) -> None:
    """All of a file, or nothing where a line is bad."""
    counts = {"resumed": 0, "superseded": 0, "in_flight": 0}
    targets = _targets(name)
    with StopClient() as client, output.progress() as bars:
        bar = bars.add_task("telling", total=len(targets))
        # One entry for all: thousands would push what else there is out of the trail.
        client.note(AuditAction.RESUMED, operator(), count=len(targets))
        for target in targets:
            result = client.resumed(*target, at=at)
            counts["resumed"] += 1
            counts["superseded"] += len(result.superseded)
            counts["in_flight"] += result.in_flight is not None
            bars.advance(bar)
    output.print_counts(counts, as_json=as_json)


def _targets(name: str) -> list[Target]:
    """Each target of a file once, in its order."""
    errors: list[LineError] = []
    targets: dict[Target, None] = {}
    with files.opened(name) as opened, reading.seekable(opened) as stream:
        scanned = files.scan(name, stream)
        how = reading.guess_format(name, scanned)
        for line in reading.read(stream, how, scanned.batch_id, {}):
            if isinstance(line, LineError):
                errors.append(line)
            else:
                targets[line.request.target] = None
    where = "stdin" if name == files.STDIN else name
    if errors:
        shown = "\n".join(str(one) for one in errors[:_SHOWN_ERRORS])
        raise InvalidRequestError(
            f"bad lines in {where}: {len(errors)}; nothing was told. The first:\n{shown}"
        )
    if not targets:
        raise InvalidRequestError(f"{where} has no line with a target; nothing was told")
    return list(targets)
