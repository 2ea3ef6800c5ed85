"""The command `list`: open requests, or the last that ended, by a filter."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from stopline.cli import output
from stopline.cli.options import AsJson
from stopline.client.sync_client import StopClient
from stopline.contract import Lane, OutcomeKind, RequestFilter, State, describe
from stopline.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stopline.client.verbs import RecentPage
    from stopline.contract import OpenPage, OpenRequest, Outcome


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
        look = client.view.recent_page if ended or outcome else client.view.open_page
        found: Iterator[OpenRequest | Outcome] = _all(partial(look, wanted))
        output.print_some(found, limit, output.print_request, as_json=as_json)


def _filter(**fields: object) -> RequestFilter:
    try:
        return RequestFilter.model_validate(fields)
    except ValidationError as error:
        field, reason = describe(error)
        raise InvalidRequestError(f"--{field.replace('_', '-')}: {reason}", field=field) from None


def _all(look: Callable[..., OpenPage | RecentPage]) -> Iterator[OpenRequest | Outcome]:
    """What is on all pages, one after the other."""
    place: Any = None  # of another type for each list
    while True:
        some, *_, place = look(place=place)
        yield from some
        if place is None:
            return
