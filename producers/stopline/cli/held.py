"""The commands `held …`: what guards hold is listed, let go, dropped."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Final

import typer

from stopline.cli import output
from stopline.cli.agreement import is_agreed, tell_dry_run
from stopline.cli.options import AsJson, By, operator
from stopline.client.sync_client import StopClient
from stopline.contract import HoldResult
from stopline.errors import InvalidRequestError
from stopline.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stopline.contract import OpenRequest

app = typer.Typer(
    help="Look at what guards hold, let it go, or drop it.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_CHUNK: Final = 250
_Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]…")]
_Guard = Annotated[str | None, typer.Option("--guard", help="All that this guard holds.")]
_All = Annotated[bool, typer.Option("--all", help="All that any guard holds.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say how many there are.")]
_Yes = Annotated[bool, typer.Option("--yes", help="Ask nobody.")]
_DONE: Final = frozenset(
    {HoldResult.RELEASED, HoldResult.WAITING, HoldResult.SATISFIED, HoldResult.CANCELLED}
)


@app.command(name="list")
def list_(
    guard: _Guard = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many to show.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List held requests, the oldest of each guard first."""
    with StopClient() as client:
        output.print_some(_held(client, guard), limit, output.print_request, as_json=as_json)


@app.command()
def release(  # each is an option
    ids: _Ids = None,
    guard: _Guard = None,
    everything: _All = False,
    dry_run: _DryRun = False,
    yes: _Yes = False,
    as_json: AsJson = False,
) -> None:
    """Let held requests go: what was stopped or resumed meanwhile is not called for."""
    with StopClient() as client:
        _act(
            _Chosen(client, ids, guard, everything=everything),
            lambda some: client.guards.release(some, actor=operator()),
            "let go",
            dry_run=dry_run,
            yes=yes,
            as_json=as_json,
        )


@app.command()
def discard(  # each is an option
    ids: _Ids = None,
    guard: _Guard = None,
    everything: _All = False,
    dry_run: _DryRun = False,
    yes: _Yes = False,
    by: By = "unknown",
    as_json: AsJson = False,
) -> None:
    """Drop held requests: they end as cancelled."""
    with StopClient() as client:
        _act(
            _Chosen(client, ids, guard, everything=everything),
            lambda some: client.guards.discard(some, by=by, actor=operator()),
            "dropped",
            dry_run=dry_run,
            yes=yes,
            as_json=as_json,
        )


class _Chosen:
    """What ids, a guard or --all mean."""

    def __init__(
        self, client: StopClient, ids: list[str] | None, guard: str | None, *, everything: bool
    ) -> None:
        if [bool(ids), guard is not None, everything].count(True) != 1:
            raise InvalidRequestError("give ids, or --guard SOURCE, or --all")
        self._client = client
        self._ids = list(dict.fromkeys(ids or ()))
        self._guard = guard
        self.needs_agreement = not self._ids

    def count(self) -> int:
        """How many there are."""
        if self._ids:
            return len(self._ids)
        views = self._client.guards.look().views
        return sum(one.held for one in views if self._guard in {None, one.source})

    def ids(self) -> list[str]:
        """Those of this moment: what is held from now on is not meant."""
        return self._ids or [one.request_id for one in _held(self._client, self._guard)]


def _held(client: StopClient, guard: str | None) -> Iterator[OpenRequest]:
    views = client.guards.look().views
    sources = [one.source for one in views if guard in {None, one.source}]
    if guard is not None and not sources:
        raise InvalidRequestError(f"There is no guard of the source {guard}.")
    for source in sources:
        yield from client.guards.held(source)


def _act(  # what is done, and how it is told
    chosen: _Chosen,
    act: Callable[[list[str]], dict[str, HoldResult]],
    what: str,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    if dry_run:
        tell_dry_run(chosen.count(), as_json=as_json)
        return
    if chosen.needs_agreement and not yes and not is_agreed(what, chosen.count()):
        return
    results: Counter[HoldResult] = Counter()
    ids = chosen.ids()
    with output.progress() as bars:
        bar = bars.add_task(what, total=len(ids))
        for first in range(0, len(ids), _CHUNK):
            results.update(act(ids[first : first + _CHUNK]).values())
            bars.advance(bar, min(_CHUNK, len(ids) - first))
    _print({str(kind): count for kind, count in sorted(results.items())}, as_json=as_json)
    if not ids and not as_json:
        output.say("There were none.")
    if set(results) - _DONE:
        raise typer.Exit(Exit.NOT_ALL_STOPPED)


def _print(told: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        output.print_json(told)
    else:
        output.console.print(output.facts(told))
