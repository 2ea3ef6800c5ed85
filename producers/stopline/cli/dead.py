"""Commands for dead letters and quarantined messages."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from stopline.cli import output
from stopline.cli.options import AsJson, By
from stopline.client import StopClient
from stopline.contract import DEAD_OUTCOMES, DeadLetter, DeadMessage, Outcome, OutcomeKind
from stopline.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(help="Look at what was not stopped, send it again, or drop it.")

_CHUNK = 250

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of dead letters.")]
OfOutcome = Annotated[
    OutcomeKind | None, typer.Option("--outcome", help="Only those with this outcome.")
]
OfUser = Annotated[str | None, typer.Option("--user-id", help="Only those of this user.")]
OfBatch = Annotated[str | None, typer.Option("--batch", help="Only those of this batch.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]


def _matches(
    letter: DeadLetter, outcome: OutcomeKind | None, user_id: str | None, batch_id: str | None
) -> bool:
    if isinstance(letter, DeadMessage):
        return outcome in (None, OutcomeKind.QUARANTINED) and user_id is batch_id is None
    return (
        (outcome is None or letter.outcome is outcome)
        and (user_id is None or letter.user_id == user_id)
        and (batch_id is None or letter.batch_id == batch_id)
    )


def _check_outcome(outcome: OutcomeKind | None) -> None:
    if outcome is not None and outcome not in DEAD_OUTCOMES:
        known = ", ".join(sorted(DEAD_OUTCOMES))
        raise InvalidRequestError(f"--outcome: {outcome} is no dead letter; one of {known}")


def _id_of(letter: DeadLetter) -> str:
    return letter.request_id if isinstance(letter, Outcome) else letter.message_id


def _chosen(
    client: StopClient,
    ids: list[str] | None,
    filters: tuple[OutcomeKind | None, str | None, str | None],
    *,
    everything: bool,
) -> Iterator[DeadLetter]:
    """The letters that ids, filters or --all mean."""
    filtered = any(one is not None for one in filters)
    if bool(ids) + (filtered or everything) != 1:
        raise InvalidRequestError("give ids, or a filter (--outcome, --user-id, --batch), or --all")
    _check_outcome(filters[0])
    if ids:
        return iter([client.dead_letter(letter_id) for letter_id in ids])
    # Gathered first: sending or dropping some would move the others' places.
    return iter([one for one in client.dead_letters() if _matches(one, *filters)])


@app.command("list")
def list_(
    outcome: OfOutcome = None,
    user_id: OfUser = None,
    batch_id: OfBatch = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List dead letters and quarantined messages, the oldest first."""
    _check_outcome(outcome)
    with StopClient() as client:
        found = (one for one in client.dead_letters() if _matches(one, outcome, user_id, batch_id))
        shown = islice(found, limit)
        if as_json:
            for letter in shown:
                output.print_json(letter.to_json())
            return
        output.print_letters(shown)
        if next(found, None) is not None:
            output.say(f"There are more than {limit}; use --limit.")


@app.command()
def show(letter_id: Annotated[str, typer.Argument(metavar="ID")], as_json: AsJson = False) -> None:
    """Show one whole."""
    with StopClient() as client:
        letter = client.dead_letter(letter_id)
    if as_json:
        output.print_json(letter.to_json())
    elif isinstance(letter, DeadMessage):
        output.console.print(output.facts(letter.to_json()))
    else:
        output.print_status(letter)


@app.command()
def redrive(
    ids: Ids = None,
    outcome: OfOutcome = None,
    user_id: OfUser = None,
    batch_id: OfBatch = None,
    everything: All = False,
    by: By = "redrive",
    as_json: AsJson = False,
) -> None:
    """Send them again: each request as a new one, each message as it came."""
    with StopClient() as client:
        letters = list(_chosen(client, ids, (outcome, user_id, batch_id), everything=everything))
        sendable = [one for one in letters if isinstance(one, Outcome) or not one.truncated]
        receipts = {}
        for first in range(0, len(sendable), _CHUNK):
            receipts.update(client.redrive(sendable[first : first + _CHUNK], by=by))
    kept = [_id_of(one) for one in letters if one not in sendable]
    if as_json:
        output.print_json(
            {
                "redriven": {old: one.to_json() for old, one in receipts.items()},
                "messages": sum(isinstance(one, DeadMessage) for one in sendable),
                "kept": kept,
            }
        )
        return
    messages = sum(isinstance(one, DeadMessage) for one in sendable)
    output.console.print(
        output.facts({"requests sent again": len(receipts), "messages sent again": messages})
    )
    for old, receipt in receipts.items():
        output.say(f"{old} → {receipt.request_id}")
    for letter_id in kept:
        output.say(f"{letter_id} was kept only in part and cannot be sent again")


@app.command()
def discard(
    ids: Ids = None,
    outcome: OfOutcome = None,
    user_id: OfUser = None,
    batch_id: OfBatch = None,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """Drop them from the list."""
    with StopClient() as client:
        letters = _chosen(client, ids, (outcome, user_id, batch_id), everything=everything)
        results = client.discard([_id_of(letter) for letter in letters])
    discarded = sum(results.values())
    if as_json:
        output.print_json({"discarded": discarded})
    else:
        output.console.print(output.facts({"discarded": discarded}))
