"""The doctor: prints what was checked, and says what to change."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from stopline.checks import Finding, Level, examine
from stopline.cli import output
from stopline.cli.options import AsJson
from stopline.exits import Exit

_COLOURS: Final = {Level.OK: "green", Level.WARNING: "yellow"}


def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="Put counters right that say what is not there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check settings, Redis, broker and API; never makes a stop call."""
    findings = list(examine(repair=repair))
    if as_json:
        for one in findings:
            output.print_json(
                {
                    "level": one.level,
                    "checked": one.checked,
                    "found": one.found,
                    "advice": one.advice,
                }
            )
    else:
        _print(findings)
    levels = {one.level for one in findings}
    if Level.UNREACHABLE in levels:
        raise typer.Exit(Exit.UNAVAILABLE)
    if Level.PROBLEM in levels:
        raise typer.Exit(Exit.BAD_INPUT)


def _print(findings: list[Finding]) -> None:
    """A block each: what is found and what to do is whole at any width."""
    for one in findings:
        output.print_finding(_COLOURS.get(one.level, "red"), one.level, one.checked, one.found)
        if one.advice:
            output.print_advice(one.advice)
