"""The command `list`: open requests, or the last that ended, by a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from stopline.cli import output
from stopline.cli.options import AsJson
from stopline.client.sync_client import StopClient
from stopline.contract import Lane, OutcomeKind, RequestFilter, State, describe
from stopline.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopline.contract import OpenPlace, OpenRequest, Outcome


def list_(  # noqa: PLR0913, PLR0917  # each is an option
    state: Annotated[State | None, typer.Option(help="Only open ones in this state.")] = None,
    outcome: Annotated[
        OutcomeKind | None, typer.Option(help="Of the last that ended, those that ended so.")
    ] = None,
    ended: Annotated[bool, typer.Option("--ended", help="The last that ended.")] = False,
    lane: Annotated[Lane | None, typer.Option(help="Only of this lane.")] = None,
    user_id: Annotated[str | None, typer.Option(help="Only of this user.")] = None,
    task_id: Annotated[str | None, typer.Option(help="Only of this task.")] = None,
    source: Annotated[str | None, typer.Option(help="Only what this source asked for.")] = None,
    batch_id: Annotated[str | None, typer.Option("--batch", help="Only of this batch.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many to show.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List open requests, those first that are due first; or the last that ended."""
    if state is not None and (ended or outcome is not None):
        raise InvalidRequestError("--state is of open requests: not with --outcome or --ended")
    wanted = _filter(
        state=state,
        outcome=outcome,
        lane=lane,
        user_id=user_id,
        task_id=task_id,
        source=source,
        batch_id=batch_id,
    )
    with StopClient() as client:
        found: Iterator[OpenRequest | Outcome]
        found = _ended(client, wanted) if ended or outcome else _open(client, wanted)
        shown = 0
        for one in found:
            if shown == limit:
                if not as_json:
                    output.say(f"There are more than {limit}; use --limit.")
                break
            shown += 1
            if as_json:
                output.print_json(one.to_json())
            else:
                output.print_request(one)
    if not shown and not as_json:
        output.say("There are none.")


def _filter(**fields: object) -> RequestFilter:
    try:
        return RequestFilter.model_validate(fields)
    except ValidationError as error:
        field, reason = describe(error)
        raise InvalidRequestError(f"--{field.replace('_', '-')}: {reason}", field=field) from None


def _open(client: StopClient, wanted: RequestFilter) -> Iterator[OpenRequest]:
    place: OpenPlace | None = None
    while True:
        page = client.view.open_page(wanted, place=place)
        yield from page.requests
        place = page.place
        if place is None:
            return


def _ended(client: StopClient, wanted: RequestFilter) -> Iterator[Outcome]:
    place: str | None = None
    while True:
        page = client.view.recent_page(wanted, place=place)
        yield from page.outcomes
        place = page.place
        if place is None:
            return
