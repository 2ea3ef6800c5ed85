"""Before many are touched: saying how many, and asking."""

from __future__ import annotations

import sys

import typer

from stopline.cli import output
from stopline.errors import InvalidRequestError


def tell_dry_run(count: int, *, as_json: bool) -> None:
    """How many would be touched."""
    if as_json:
        output.print_json({"matching": count, "dry_run": True})
    else:
        output.console.print(output.facts({"matching": count, "changed": "nothing (dry run)"}))


def is_agreed(what: str, count: int) -> bool:
    """Ask whoever sits there before all are touched.

    Raises:
        InvalidRequestError: nobody can be asked.
    """
    if not sys.stdin.isatty():
        raise InvalidRequestError(
            f"all {count} would be {what}: say --yes where nobody can be asked, or --dry-run"
        )
    return typer.confirm(f"All {count:,} will be {what}. Go on?", err=True)
