"""Commands for single requests and batches: stop, status, batch, cancel."""

from __future__ import annotations

from typing import Annotated

import typer

from stopline.cli import output
from stopline.cli.options import AsJson, ByOperator, SubUserId, TimeoutS, operator
from stopline.cli.watching import watch_batch
from stopline.client.sync_client import StopClient
from stopline.contract import CancelResult, Lane, OutcomeKind, StopRequest
from stopline.errors import InvalidRequestError
from stopline.exits import Exit

UserId = Annotated[str, typer.Argument(metavar="USER_ID", help="The user that owns the task.")]
TaskId = Annotated[str, typer.Argument(metavar="TASK_ID", help="The upstream task.")]


def stop(  # noqa: PLR0913, PLR0917  # each is an option
    user_id: UserId,
    task_id: TaskId,
    sub_user_id: SubUserId = None,
    lane: Annotated[Lane, typer.Option(help="How urgent it is.")] = Lane.DEFAULT,
    source: Annotated[str, typer.Option(help="Who asks.")] = "cli",
    reason: Annotated[str | None, typer.Option(help="Why, at most 500 characters.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key is accepted once.")
    ] = None,
    issued_at: Annotated[
        str | None, typer.Option(help="When the event behind it happened (RFC 3339).")
    ] = None,
    not_after: Annotated[
        str | None, typer.Option(help="When it is too late to call (RFC 3339).")
    ] = None,
    callback_url: Annotated[
        str | None, typer.Option(help="Where the outcome is told, too, if that is allowed.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcome.")] = False,
    timeout_s: TimeoutS = None,
    as_json: AsJson = False,
) -> None:
    """Stop one task; prints the receipt, with --wait the outcome."""
    if timeout_s is not None and not wait:
        raise InvalidRequestError("--timeout goes with --wait")
    fields = {"sub_user_id": sub_user_id, "lane": lane, "source": source, "reason": reason}
    fields |= {"idempotency_key": idempotency_key, "callback_url": callback_url}
    fields |= {"issued_at": issued_at, "not_after": not_after}
    request = StopRequest.parse({"user_id": user_id, "task_id": task_id, **fields})
    with StopClient() as client:
        receipt = client.stop_request(request)
        if not wait:
            if as_json:
                output.print_json(receipt.to_json())
            else:
                output.print_receipt(receipt)
            return
        output.say(f"{receipt.receipt}: {receipt.request_id}")
        outcome = client.wait(receipt.request_id, timeout_s)
    if as_json:
        output.print_json(outcome.to_json())
    else:
        output.print_status(outcome)
    if not output.is_stopped(outcome):
        raise typer.Exit(Exit.NOT_ALL_STOPPED)


def status(
    request_id: Annotated[
        str, typer.Argument(metavar="REQUEST_ID", help="The id from the receipt.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show where a request is, or its outcome, with every attempt."""
    with StopClient() as client:
        found = client.status(request_id)
    if as_json:
        output.print_json(found.to_json())
    else:
        output.print_status(found)


def batch(
    batch_id: Annotated[
        str, typer.Argument(metavar="BATCH_ID", help="The id that 'bulk' printed.")
    ],
    watch: Annotated[bool, typer.Option("--watch", help="Wait until all of it has ended.")] = False,
    timeout_s: TimeoutS = None,
    as_json: AsJson = False,
) -> None:
    """Show the progress and the report of a batch."""
    if timeout_s is not None and not watch:
        raise InvalidRequestError("--timeout goes with --watch")
    with StopClient() as client:
        if watch:
            with output.progress() as progress:
                found = watch_batch(client, batch_id, progress, timeout_s)
        else:
            found = client.batch(batch_id)
    output.show_batch(found, as_json=as_json)


def watch(
    batch_id: Annotated[
        str, typer.Argument(metavar="BATCH_ID", help="The id that 'bulk' printed.")
    ],
    timeout_s: TimeoutS = None,
    as_json: AsJson = False,
) -> None:
    """Watch a batch until all of it has ended; exit 1 if not all was stopped."""
    with StopClient() as client, output.progress() as progress:
        found = watch_batch(client, batch_id, progress, timeout_s)
    output.show_batch(found, as_json=as_json)
    if found.outcomes[OutcomeKind.STOPPED] != found.total:
        raise typer.Exit(Exit.NOT_ALL_STOPPED)


def cancel(
    request_id: Annotated[
        str | None, typer.Argument(metavar="REQUEST_ID", help="The id from the receipt.")
    ] = None,
    batch_id: Annotated[str | None, typer.Option("--batch", help="Cancel a whole batch.")] = None,
    by: ByOperator = None,
    as_json: AsJson = False,
) -> None:
    """Cancel a request, or every request of a batch."""
    if (request_id is None) == (batch_id is None):
        raise InvalidRequestError("give either a request id or --batch")
    actor = operator()
    with StopClient() as client:
        if batch_id is not None:
            counts = client.cancel_batch(batch_id, by=actor.name if by is None else by, actor=actor)
        else:
            result = client.cancel(
                str(request_id), by=actor.name if by is None else by, actor=actor
            )
            if result is CancelResult.UNKNOWN:
                raise InvalidRequestError(f"the ledger knows no request {request_id}")
            counts = {kind: int(kind is result) for kind in CancelResult}
    output.print_counts(counts, as_json=as_json)
