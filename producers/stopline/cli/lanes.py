"""The commands `lane …`: pause a lane, let it go on, see which are paused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

import typer

from stopline.cli import output
from stopline.cli.options import AsJson, operator
from stopline.client.sync_client import StopClient
from stopline.contract import Lane
from stopline.errors import InvalidRequestError

if TYPE_CHECKING:
    from stopline.contract import Gate

app = typer.Typer(
    help="Pause a lane, let it go on, see which are paused.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_DURATION: Final = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>[smh])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


@app.command()
def pause(
    lane: Annotated[Lane, typer.Argument(help="Which.")],
    reason: Annotated[str, typer.Option(help="Why, for all who look.")],
    lasts: Annotated[
        str, typer.Option("--for", help="Then it goes on by itself: 90s, 30m, 2h; a day at most.")
    ],
    by: Annotated[str | None, typer.Option(help="Who does this; you if left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let the requests of a lane wait; they expire, are cancelled and superseded as ever."""
    with StopClient() as client:
        client.gate.pause_lane(
            lane, _seconds(lasts), reason=reason, by=by or operator().name, actor=operator()
        )
        _print(client.gate.look(), as_json=as_json)


@app.command()
def resume(lane: Annotated[Lane, typer.Argument(help="Which.")], as_json: AsJson = False) -> None:
    """Let a paused lane go on at once."""
    with StopClient() as client:
        if not client.gate.resume_lane(lane, actor=operator()) and not as_json:
            output.say(f"lane {lane} was not paused")
        _print(client.gate.look(), as_json=as_json)


@app.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """Show which lanes are paused, and what else keeps calls waiting."""
    with StopClient() as client:
        _print(client.gate.look(), as_json=as_json)


def _seconds(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise InvalidRequestError("--for: a time like 90s, 30m or 2h is needed", field="--for")
    return float(int(found["count"]) * _SECONDS[found["unit"]])


def _print(gate: Gate, *, as_json: bool) -> None:
    if as_json:
        output.print_json(gate.to_json())
        return
    for part, text in gate.notices():
        output.say(f"{part}: {text}")
    if not list(gate.notices()):
        output.console.print("Calls are made in every lane.")
