"""The commands `callbacks …`: how many wait, which were given up; send them again, drop them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stopline.cli import output
from stopline.cli.options import AsJson
from stopline.client.sync_client import StopClient
from stopline.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopline.contract import CallbackView

app = typer.Typer(
    help="Callbacks: how many wait, which were given up; send them again, or drop them.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_Ids = Annotated[list[str] | None, typer.Argument(metavar="CALLBACK_ID…", help="Which.")]
_All = Annotated[bool, typer.Option("--all", help="All that were given up.")]
_Url = Annotated[str | None, typer.Option(help="All of this URL.")]


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show how many wait and were given up, and how late the first that waits is."""
    with StopClient() as client:
        found = client.callbacks.count()
    if as_json:
        output.print_json(found.to_json())
        return
    late = "-" if found.oldest_s is None else f"{found.oldest_s:,.0f} s"
    known = {"waiting": found.waiting, "first is late by": late, "given up": found.dead}
    output.console.print(output.facts(known))


@app.command()
def dead(
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many to show.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List callbacks that were given up, the newest first."""
    with StopClient() as client:
        output.print_some(client.callbacks.dead(), limit, _print, as_json=as_json)


@app.command()
def redrive(
    ids: _Ids = None, all_: _All = False, url: _Url = None, as_json: AsJson = False
) -> None:
    """Send callbacks again that were given up, also to a URL that answered 410."""
    with StopClient() as client:
        _tell(client.callbacks.redrive(_chosen(client, ids, url, all_=all_)), as_json=as_json)


@app.command()
def discard(
    ids: _Ids = None, all_: _All = False, url: _Url = None, as_json: AsJson = False
) -> None:
    """Drop callbacks that were given up."""
    with StopClient() as client:
        _tell(client.callbacks.discard(_chosen(client, ids, url, all_=all_)), as_json=as_json)


def _chosen(client: StopClient, ids: list[str] | None, url: str | None, *, all_: bool) -> list[str]:
    if [bool(ids), url is not None, all_].count(True) != 1:
        raise InvalidRequestError("give ids, --url or --all")
    if ids:
        return ids
    return [one.callback_id for one in client.callbacks.dead() if url in {None, one.url}]


def _tell(results: Mapping[str, bool], *, as_json: bool) -> None:
    done = sum(results.values())
    if results and not done:
        raise InvalidRequestError(f"none of the {len(results)} is among the callbacks given up")
    counts = {"done": done, "unknown": len(results) - done}
    output.print_counts(counts, as_json=as_json)


def _print(one: CallbackView) -> None:
    when = f"{one.died_at:%Y-%m-%d %H:%M:%S}Z" if one.died_at else "-"
    detail = f"by {one.source} · sent {one.attempts} times · {one.said} · {one.callback_id}"
    output.print_block((when, one.url), detail)
