"""The commands `guard …`: what keeps back sources that go wild."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stopline.cli import output
from stopline.cli.options import AsJson, operator
from stopline.client.sync_client import StopClient
from stopline.errors import InvalidRequestError
from stopline.exits import Exit
from stopline.policy_file import read_guards

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stopline.contract import Guard, GuardView

app = typer.Typer(
    help="Keep back sources that go wild: apply a file of guards, see them, reset one.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_Source = Annotated[str, typer.Argument(metavar="SOURCE", help="As it stands in the file.")]


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML, with `guards:`.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be different.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nobody.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put the guards of a file in the place of those that are there, all in one step."""
    rules = read_guards(file)
    with StopClient() as client:
        seen = client.guards.look()
        changes = list(_changes(seen.rules, rules))
        if changes and not (dry_run or yes or sys.stdin.isatty()):
            raise InvalidRequestError("say --yes where nobody can be asked, or --dry-run")
        _print_changes(changes, as_json=as_json, applied=bool(changes) and not dry_run)
        if dry_run or not changes:
            return
        if not _is_agreed(yes=yes):
            output.say("Nothing was changed.")
            raise typer.Exit(Exit.NOT_ALL_STOPPED)
        if not client.guards.apply(rules, seen=seen.version, actor=operator()):
            output.say("Others were applied meanwhile: nothing was changed. Try it again.")
            raise typer.Exit(Exit.NOT_ALL_STOPPED)
        left = [one for one in client.guards.look().views if one.guard is None]
        if not as_json:
            output.say("Applied.")
            for one in left:
                output.say(f"{one.source} is no guard any more; {one.held:,} are held still.")


@app.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """List all guards, which have tripped, and how many requests each holds."""
    with StopClient() as client:
        found = client.guards.look()
    if as_json:
        output.print_json({"guards": [one.to_json() for one in found.views]})
    for view in () if as_json else found.views:
        rules = view.guard.sentence() if view.guard else None
        output.print_block((view.source, _state(view)), rules)
    if not as_json and not found.views:
        output.say("There are none.")


@app.command()
def show(source: _Source, as_json: AsJson = False) -> None:
    """Show one guard whole."""
    with StopClient() as client:
        view = next((one for one in client.guards.look().views if one.source == source), None)
    if view is None:
        raise InvalidRequestError(f"There is no guard of the source {source}.")
    document = view.to_json()
    if as_json:
        output.print_json(document)
        return
    rules = document.pop("guard") or {}
    output.console.print(
        output.facts(
            document | {"state": _state(view), "does": view.guard and view.guard.sentence()}
        )
    )
    if not rules:
        output.say("It is no guard any more; what it held, it holds still.")


@app.command()
def reset(source: _Source, as_json: AsJson = False) -> None:
    """Let a guard begin anew; what it holds, it holds still (`stopline held release`)."""
    with StopClient() as client:
        views = client.guards.look().views
        held = sum(one.held for one in views if one.source == source)
        had_tripped = client.guards.reset(source, actor=operator())
    if had_tripped is None:
        raise InvalidRequestError(f"There is no guard of the source {source}.")
    if as_json:
        output.print_json({"source": source, "had_tripped": had_tripped})
    else:
        begins = "begins anew" if had_tripped else "had not tripped; it begins anew"
        output.say(f"The guard {source} {begins}.")
        if held:
            hint = f"'stopline held release --guard \"{source}\"', or discard"
            output.say(f"{held:,} are held still: {hint}.")


def _state(view: GuardView) -> str:
    parts = [f"tripped by its {view.trip}" if view.trip else "lets through"]
    if view.guard is None:
        parts = ["no guard any more"]
    if view.canary_done is not None and not view.trip:
        parts.append(f"canary: {view.canary_done} ended, {view.canary_failed} of them failed")
    if view.held:
        parts.append(f"{view.held:,} held")
    return ", ".join(parts)


def _changes(before: Sequence[Guard], after: Sequence[Guard]) -> Iterator[tuple[str, str, str]]:
    """What becomes different: a sign, the source, and what it does."""
    was, will = ({one.source: one for one in some} for some in (before, after))
    for source in sorted({*was, *will}):
        old, new = was.get(source), will.get(source)
        if old == new:
            continue
        if old is not None:
            yield "-", source, old.sentence()
        if new is not None:
            yield "+", source, new.sentence()


def _print_changes(changes: list[tuple[str, str, str]], *, as_json: bool, applied: bool) -> None:
    if as_json:
        told = [dict(zip(("change", "source", "does"), one, strict=True)) for one in changes]
        output.print_json({"changes": told, "dry_run": not applied})
        return
    for sign, source, does in changes:
        output.console.print(f"{sign} {source}: {does}", markup=False, highlight=False)
    if not changes:
        output.say("Nothing would be different.")


def _is_agreed(*, yes: bool) -> bool:
    if yes:
        return True
    return typer.confirm("Apply this?", err=True)
