"""`make simulate SEEDS=10000`: many seeds; `make simulate SEED=42`: one, with its event log."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from tests.simulation.ledger import LedgerServer
from tests.simulation.many import run_many
from tests.simulation.run import Report, simulate

_SHOWN_MAX = 10
console = Console(stderr=True)


def main(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 1000,
    first: Annotated[int, typer.Option(help="The first seed.")] = 1,
    seed: Annotated[int | None, typer.Option(help="Run this one and print its log.")] = None,
    redis_url: Annotated[
        str | None, typer.Option(help="With --seed: a real server; it is emptied.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Simulate stop requests under every fault, and check what must always hold."""
    if seed is not None:
        report = simulate(seed, LedgerServer(redis_url))
        sys.stdout.write(f"{report.story}\n{report.summary}\n")
        raise typer.Exit(1 if report.broken else 0)
    failed = _run_all(first, seeds, processes)
    for report in failed[:_SHOWN_MAX]:
        console.print(f"{report.summary}\n  replay: make simulate SEED={report.seed}", markup=False)
    if failed:
        sys.stdout.write(f"{failed[0].story}\n")
        console.print(
            f"{len(failed)} of {seeds} seeds failed; above is the log of {failed[0].seed}"
        )
        raise typer.Exit(1)


def _run_all(first: int, seeds: int, processes: int) -> list[Report]:
    counts: Counter[str] = Counter()
    failed: list[Report] = []
    columns = ("seeds", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("seeds", total=seeds)
        for report in run_many(first, seeds, processes):
            progress.advance(bar)
            counts += report.counts
            if report.broken:
                failed.append(report)
    _print_counts(counts, seeds, len(failed))
    return sorted(failed, key=lambda one: one.seed)


def _print_counts(counts: Counter[str], seeds: int, failed: int) -> None:
    table = Table("what happened", "how often", title=f"{seeds} seeds, {failed} failed")
    for name, count in sorted(counts.items()):
        table.add_row(name.replace("_", " "), f"{count:,}")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
