"""What was measured, as a table and a chart for people."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.benchmarks.contestants import CONTESTANTS, HERE, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.benchmarks.rounds import Conditions, Drain, TimesToStop

DOCS: Final = ROOT / "docs"
_BEGIN: Final = "<!-- figures: written by make bench WRITE=1 -->"
_END: Final = "<!-- end of figures -->"
_BULK: Final = "stopline-bulk"
_MANY: Final = 6
_CHART: Final = "benchmarks.svg"


@dataclass(frozen=True, slots=True)
class Results:
    """All rounds: by latency and contestant, and times to stop by contestant."""

    drains: Mapping[float, Mapping[str, list[Drain]]]
    idle: Mapping[str, TimesToStop]
    loaded: Mapping[str, TimesToStop]
    conditions: Mapping[float, Conditions]


def _median(drains: Iterable[Drain], of: Callable[[Drain], float]) -> float:
    return statistics.median(of(one) for one in drains)


def _spread(drains: list[Drain], of: Callable[[Drain], float]) -> str:
    values = [of(one) for one in drains]
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})"


def _ratios(ours: list[Drain], theirs: list[Drain]) -> list[float]:
    """Round by round: both were measured within minutes."""
    return [mine.stops_per_s / other.stops_per_s for mine, other in zip(ours, theirs, strict=False)]


def _table(header: list[str], rows: Iterable[list[str]], *, align: str = "---:") -> str:
    lines = [header, ["---", *(align for _ in header[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _rates(found: Mapping[str, list[Drain]]) -> str:
    ours = found.get(_BULK)
    rows = []
    for name, drains in found.items():
        ratios = _ratios(ours, drains) if ours and name != _BULK else []
        shown = (
            f"{statistics.median(ratios):.2f} times ({min(ratios):.2f}-{max(ratios):.2f})"
            if ratios
            else "—"
        )
        rows.append(
            [
                CONTESTANTS[name].title,
                _spread(drains, lambda one: one.stops_per_s),
                shown,
                f"{_median(drains, lambda one: one.cpu_s_per_1000):.2f}",
                f"{_median(drains, lambda one: one.server_cpu_s_per_1000):.2f}",
            ]
        )
    header = ["", "stops/s", "Stopline bulk makes", "CPU s per 1,000", "server's CPU s per 1,000"]
    return _table(header, rows)


def _costs(found: Mapping[str, list[Drain]]) -> str:
    rows = []
    for name, drains in found.items():
        last = drains[-1]
        peaks = ", ".join(f"{peak / 2**20:.0f}" for _, peak in last.peak_bytes)
        rows.append(
            [
                CONTESTANTS[name].title,
                _spread(drains, lambda one: one.enqueued_per_s),
                f"{_median(drains, lambda one: one.bytes_in_flight):.0f}",
                f"{_median(drains, lambda one: one.bytes_settled):.0f}",
                f"{_median(drains, lambda one: one.commands_per_stop):.1f}",
                f"{_median(drains, lambda one: one.round_trips_per_stop):.2f}",
                peaks
                if len(last.peak_bytes) < _MANY
                else f"{len(last.peak_bytes)} times {last.peak_bytes[0][1] >> 20}",
            ]
        )
    header = ["", "enqueued/s", "bytes queued", "bytes settled", "commands per stop"]
    return _table([*header, "round trips per stop", "peak MB of each process"], rows)


def _times(results: Results) -> str:
    rows = []
    for name, idle in results.idle.items():
        cells = [f"{idle.percentile(0.5):.1f}", f"{idle.percentile(0.99):.1f}"]
        loaded = results.loaded.get(name)
        cells += (
            [f"{loaded.percentile(0.5):.1f}", f"{loaded.percentile(0.99):.1f}"]
            if loaded
            else ["", ""]
        )
        rows.append([CONTESTANTS[name].title, *cells])
    return _table(["ms", "idle p50", "idle p99", "urgent p50", "urgent p99"], rows)


def _lacks(names: Iterable[str]) -> str:
    return _table(
        ["", "what it does not have"],
        ([CONTESTANTS[name].title, CONTESTANTS[name].lacks] for name in names),
        align="---",
    )


def _versions(server: str) -> str:
    pins = []
    for path in sorted((HERE / "requirements").glob("*.txt")):
        pins += path.read_text("utf-8").split()
    peers = ", ".join(sorted({pin.replace("==", " ") for pin in pins}))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}; {os.cpu_count()} cores of {_processor()}; "
        f"{server}; Python {platform.python_version()}; {peers}; bullmq 6.7.0, undici 7.30.2"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _conditions(conditions: Conditions, drains: Mapping[str, list[Drain]]) -> str:
    cpu_s = statistics.median(
        one.target_cpu_s_per_1000 for rounds in drains.values() for one in rounds
    )
    ceiling = (
        f", so at most {conditions.connections / conditions.latency_ms * 1000:,.0f} stops/s"
        if conditions.latency_ms
        else ""
    )
    return (
        f"{conditions.count:,} targets, {conditions.processes} processes with together "
        f"{conditions.connections} connections{ceiling}. The target itself took {cpu_s:.3f} s of "
        "CPU per 1,000.\n"
    )


def figures(results: Results, server: str) -> str:
    """Everything that was measured, as Markdown."""
    rounds = f"Median of {_rounds(results)} interleaved rounds (least-most)."
    parts = [f"{_versions(server)}. {rounds}\n"]
    for latency, found in results.drains.items():
        parts += [f"### API of {latency:g} ms\n", _conditions(results.conditions[latency], found)]
        parts.append(_rates(found))
    first = next(iter(results.drains.values()), None)
    if first:
        parts += ["### Enqueueing, memory, traffic (API of 0 ms)\n", _costs(first)]
    if results.idle:
        parts += ["### Time to stop\n", _times(results)]
    if first:
        parts += ["### What the others do without\n", _lacks(first)]
    return "\n".join(parts)


def _rounds(results: Results) -> int:
    return max((len(one) for found in results.drains.values() for one in found.values()), default=0)


# --- chart -------------------------------------------------------------------------------------

_WIDTH, _LEFT, _BAR, _GAP = 860, 250, 18, 6


def chart(results: Results) -> str:
    """Stops per second as bars, one group for each latency (SVG)."""
    y, parts = 30, []
    for latency, found in results.drains.items():
        parts.append(f'<text x="10" y="{y}" class="h">stops/s, API of {latency:g} ms</text>')
        y += 12
        rates = {
            name: _median(drains, lambda one: one.stops_per_s) for name, drains in found.items()
        }
        most = max(rates.values())
        for name, rate in sorted(rates.items(), key=lambda pair: -pair[1]):
            width = max(1, rate / most * (_WIDTH - _LEFT - 90))
            kind = "us" if CONTESTANTS[name].is_stopline else "them"
            title = CONTESTANTS[name].title.replace("`", "")
            middle = y + _BAR - 5
            parts += [
                f'<text x="{_LEFT - 8}" y="{middle}" class="l">{title}</text>',
                f'<rect x="{_LEFT}" y="{y}" width="{width:.0f}" height="{_BAR}" class="{kind}"/>',
                f'<text x="{_LEFT + width + 6:.0f}" y="{middle}">{rate:,.0f}</text>',
            ]
            y += _BAR + _GAP
        y += 34
    style = (
        "text{font:13px system-ui,sans-serif;fill:#24292f}.h{font-weight:600}"
        ".l{text-anchor:end}.us{fill:#1a7f5a}.them{fill:#afb8c1}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" '
        f'viewBox="0 0 {_WIDTH} {y}" role="img" aria-label="Stops per second">'
        f'<style>{style}</style><rect width="100%" height="100%" fill="#fff"/>'
        + "".join(parts)
        + "</svg>\n"
    )


def write(results: Results, server: str, *, to_docs: bool) -> str:
    """The figures as text; also into `docs/benchmarks.md`, with the chart, if asked to."""
    text = figures(results, server)
    if to_docs:
        page = DOCS / "benchmarks.md"
        before, _, rest = page.read_text("utf-8").partition(_BEGIN)
        after = rest.partition(_END)[2]
        page.write_text(f"{before}{_BEGIN}\n\n{text}\n{_END}{after}", "utf-8")
        (DOCS / _CHART).write_text(chart(results), "utf-8")
        sys.stderr.write(f"written to {page.relative_to(ROOT)} and docs/{_CHART}\n")
    return text
