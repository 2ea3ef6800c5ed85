"""What makes the promise true on this host: settings, Redis, broker, API; never a stop call.

`stopline doctor` prints it.
"""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from stopline.client.sync_client import StopClient
from stopline.contract import ApiState, GateCause, Lane
from stopline.dispatch.publisher import Publisher
from stopline.errors import InvalidSettingsError, StoplineError, UnavailableError
from stopline.health import examine as judge
from stopline.ledger import Ledger, commands, overviews, queries
from stopline.ledger.keys import FORMAT_VERSION
from stopline.servers.connecting import connect
from stopline.settings.model import Durability, Settings
from stopline.settings.names import API_TOKEN_FILE
from stopline.settings.secret_files import read_secret
from stopline.wiring import ledger_server_of, limits_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_OLDEST_REDIS = (7, 0)
_CONNECT_S = 5.0
_CLOCK_OFFSET_S = 1.0
_LEASE_MARGIN = 1.25
_VISIBILITY_MARGIN = 2


_SHELL: Final = "as this shell has it"


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked, and what to do about it."""

    level: Level
    checked: str
    found: str
    advice: str = ""


def examine(*, repair: bool = False) -> Iterator[Finding]:
    """Check one thing after the other; with `repair`, put wrong counters right."""
    try:
        settings = Settings.load()
    except InvalidSettingsError as error:
        yield Finding(Level.PROBLEM, "settings", str(error), "correct them and run this again")
        return
    yield Finding(Level.OK, "settings", "valid; timeouts nest")
    yield _timeouts(settings)
    yield _token(settings)
    yield from _ledger(settings, repair=repair)
    yield _api(settings)


def _timeouts(settings: Settings) -> Finding:
    """Settings.load() refuses what does not nest at all; here it is whether there is a margin."""
    found = (
        f"call {settings.call_timeout_s:g} s, lease {settings.lease_s:g} s, "
        f"visibility timeout {settings.visibility_timeout_s} s"
    )
    if settings.lease_s < _LEASE_MARGIN * settings.call_timeout_s:
        advice = "raise STOPLINE_LEASE_S: a slow network may end a lease before its call"
        return Finding(Level.WARNING, "timeouts", found, advice)
    if settings.visibility_timeout_s < _VISIBILITY_MARGIN * settings.lease_s:
        advice = (
            "raise STOPLINE_VISIBILITY_TIMEOUT_S: messages come again while calls are in flight"
        )
        return Finding(Level.WARNING, "timeouts", found, advice)
    return Finding(Level.OK, "timeouts", found)


def _token(settings: Settings) -> Finding:
    if settings.api_token is not None:
        return Finding(Level.OK, "API token", "set")
    path: Path | None = settings.api_token_file
    if path is None:
        return Finding(
            Level.WARNING,
            "API token",
            f"none, {_SHELL}",
            "workers need STOPLINE_API_TOKEN or …_FILE; those that run have theirs",
        )
    try:
        read_secret(path, API_TOKEN_FILE)
    except InvalidSettingsError as error:
        return Finding(Level.PROBLEM, "API token", str(error), "correct the file or its path")
    return Finding(Level.OK, "API token", f"read from {path}")


def _ledger(settings: Settings, *, repair: bool) -> Iterator[Finding]:
    try:
        server = ledger_server_of(settings)
        ledger = Ledger(connect(server))
        info = ledger.run(queries.info("everything"))
    except StoplineError as error:
        level = Level.UNREACHABLE if isinstance(error, UnavailableError) else Level.PROBLEM
        yield Finding(level, "ledger", str(error))
        return
    yield _version(info)
    yield _persistence(info)
    yield _fsync(ledger)
    yield _format(ledger)
    if settings.durability is Durability.FSYNC:
        yield _durability(settings, ledger)
    yield _eviction(info)
    yield _memory(info)
    yield _clock(settings, ledger)
    if settings.counts:
        yield _counters(ledger, repair=repair)
    yield from _quarantine(ledger)
    yield from _workers(settings)
    yield from _broker(settings, server.url)
    ledger.close()


def _version(info: dict[str, Any]) -> Finding:
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version", "0"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < _OLDEST_REDIS:
        return Finding(
            Level.PROBLEM, "server version", f"{name} {version}", "use Redis 7 or Valkey, or later"
        )
    return Finding(Level.OK, "server version", f"{name} {version}")


def _persistence(info: dict[str, Any]) -> Finding:
    if info.get("aof_enabled"):
        return Finding(Level.OK, "persistence", "append-only file on")
    return Finding(
        Level.WARNING,
        "persistence",
        "no append-only file",
        "set 'appendonly yes': without it a restart of Redis loses accepted requests",
    )


def _format(ledger: Ledger) -> Finding:
    found = ledger.run(queries.ledger_format())
    if found is None:
        return Finding(Level.OK, "ledger", "no worker has begun on it yet")
    if found > FORMAT_VERSION:
        return Finding(
            Level.PROBLEM,
            "ledger",
            f"its format is {found}, and this version writes {FORMAT_VERSION}",
            "use the version of Stopline that its workers have (docs/upgrading.md)",
        )
    return Finding(Level.OK, "ledger", f"format {found}")


def _fsync(ledger: Ledger) -> Finding:
    try:
        policy = ledger.run(queries.config("appendfsync"))
    except Exception as error:  # noqa: BLE001  # managed services forbid CONFIG
        return Finding(Level.WARNING, "appendfsync", f"not told ({type(error).__name__})")
    if policy in ("everysec", "always"):
        return Finding(Level.OK, "appendfsync", str(policy))
    return Finding(
        Level.WARNING, "appendfsync", str(policy), "set 'appendfsync everysec' or 'always'"
    )


def _durability(settings: Settings, ledger: Ledger) -> Finding:
    try:
        ledger.check_durability()
    except InvalidSettingsError as error:
        return Finding(
            Level.PROBLEM, "durability", str(error), "change Redis, or unset STOPLINE_DURABILITY"
        )
    return Finding(Level.OK, "durability", f"{settings.durability}: receipts are on disk")


def _eviction(info: dict[str, Any]) -> Finding:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction" or not info.get("maxmemory"):
        return Finding(Level.OK, "eviction", "nothing is evicted")
    return Finding(
        Level.PROBLEM,
        "eviction",
        str(policy),
        "set 'maxmemory-policy noeviction': requests must not vanish",
    )


def _memory(info: dict[str, Any]) -> Finding:
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if not limit:
        return Finding(Level.OK, "memory", f"{used >> 20} MiB used, no maxmemory")
    share = used / limit
    found = f"{share:.0%} of maxmemory ({limit >> 20} MiB) used"
    if share < 0.75:  # noqa: PLR2004  # accepting ends at 90 %
        return Finding(Level.OK, "memory", found)
    return Finding(
        Level.WARNING, "memory", found, "above 90 % nothing is accepted: raise maxmemory"
    )


def _clock(settings: Settings, ledger: Ledger) -> Finding:
    before = time.time()
    clock = ledger.run(commands.read_clock(limits_of(settings)))
    offset = clock.server_now / 1_000_000 - (before + time.time()) / 2
    ahead_s = (clock.now - clock.server_now) / 1_000_000
    if ahead_s > _CLOCK_OFFSET_S:
        return Finding(
            Level.WARNING,
            "clock",
            f"the clock of Redis went back; the ledger's is {ahead_s:.0f} s ahead of it",
            "nothing is lost: the ledger's goes at half speed until they meet. Keep the clock of "
            "Redis right (docs/reliability.md)",
        )
    found = f"{offset:+.3f} s between this host and Redis"
    if abs(offset) < _CLOCK_OFFSET_S:
        return Finding(Level.OK, "clock", found)
    return Finding(
        Level.WARNING,
        "clock",
        found,
        "Stopline goes by Redis alone, but producers that give issued_at should share its time",
    )


def _counters(ledger: Ledger, *, repair: bool) -> Finding:
    found = ledger.run(overviews.recount(repair=repair))
    if found.wrong is None:
        many = f"{found.open:,} requests are open: too many to be counted in one step"
        return Finding(Level.WARNING if repair else Level.OK, "counters", many)
    if not found.wrong:
        return Finding(Level.OK, "counters", f"right: {found.open:,} requests are open")
    one = found.wrong[0]
    text = f"{len(found.wrong)} wrong: {one.name} said {one.said}, there are {one.found}"
    if repair:
        return Finding(Level.OK, "counters", f"{text}; put right")
    advice = (
        "some process does not count: give all of them the same STOPLINE_COUNTS; then "
        "'stopline doctor --repair'"
    )
    return Finding(Level.WARNING, "counters", text, advice)


def _quarantine(ledger: Ledger) -> Iterator[Finding]:
    found = ledger.run(queries.quarantine())
    if found.cut or found.dropped:
        yield Finding(
            Level.WARNING,
            "quarantine",
            f"{found.body_bytes >> 10} KiB of bodies; to make room, {found.cut} older ones were "
            f"cut and {found.dropped} messages dropped",
            "find their sender: 'stopline dead list --outcome quarantined'; then discard them",
        )


def _workers(settings: Settings) -> Iterator[Finding]:
    with StopClient(settings) as client:
        found_all = client.heartbeats()
    gate = found_all.gate
    health = judge(found_all.processes, found_all.now, call_timeout_s=settings.call_timeout_s)
    if health.is_healthy:
        yield Finding(Level.OK, "workers", f"{len(health.processes)} processes, all at work")
    else:
        found = "; ".join(f"{one.part}: {one.problem}" for one in health.standstills)
        yield Finding(Level.WARNING, "workers", found, "start workers, or see 'stopline health'")
    for lane in health.paused:
        advice = f"celery -A stopline_worker.app control add_consumer {lane.queue}"
        yield Finding(Level.WARNING, f"lane {lane}", "paused: nobody takes its messages", advice)
    for part, text in gate.notices():
        is_refused = part == "API" and gate.cause is GateCause.CREDENTIAL
        resume = f"go on before: 'stopline {part.replace(' ', ' resume ', 1)}'"
        advice = gate.said or "" if part == "API" else resume
        yield Finding(Level.PROBLEM if is_refused else Level.WARNING, part, text, advice)
    for part, text in found_all.guards.notices():
        yield Finding(Level.WARNING, part, text)
    if health.api is not None and gate.cause is None:
        refused = health.api.state is ApiState.TOKEN_REFUSED
        level = Level.PROBLEM if refused else Level.UNREACHABLE
        advice = "put the new token into STOPLINE_API_TOKEN_FILE" if refused else "nothing is lost"
        yield Finding(level, "API, as calls see it", health.api.sentence, advice)


def _broker(settings: Settings, ledger_url: str) -> Iterator[Finding]:
    publisher = Publisher(settings, settings.queue_url(ledger_url))
    try:
        depths = publisher.depths()
        yield _depths(depths)
        if None in depths.values():
            lost = "plain Celery's messages to a queue that is not there yet are lost"
            yield Finding(Level.WARNING, "broker", lost, "start a worker for each lane once")
        for queue in publisher.queues_of_another_kind():
            advice = (
                "let it run empty, delete it (its messages go with it): workers make it anew. How: "
                "docs/celery.md"
            )
            yield Finding(
                Level.PROBLEM, f"queue {queue}", "of another kind than workers need", advice
            )
        for queue, count in publisher.strays().items():
            yield Finding(
                Level.WARNING,
                f"queue {queue}",
                f"{count} messages, among them some of Stopline's tasks, and no worker serves it",
                f"their sender left out queue={Lane.DEFAULT.queue}, or misspelt it. When it sends "
                f"there: celery -A stopline_worker.app purge -Q {queue}",
            )
    except StoplineError as error:
        yield Finding(Level.UNREACHABLE, "broker", str(error))
    finally:
        publisher.close()


def _depths(depths: Mapping[Lane, int | None]) -> Finding:
    waiting = ", ".join(
        f"{lane}: {'no queue yet' if count is None else count}" for lane, count in depths.items()
    )
    return Finding(Level.OK, "broker", f"messages waiting: {waiting}")


def _api(settings: Settings) -> Finding:
    parts = urlsplit(str(settings.api_url))
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname or ""
    try:
        with socket.create_connection((host, port), _CONNECT_S) as connection:
            if parts.scheme == "https":
                with ssl.create_default_context().wrap_socket(connection, server_hostname=host):
                    pass
    except OSError as error:
        return Finding(
            Level.UNREACHABLE,
            "API",
            f"{host}:{port}, {_SHELL}: {error}",
            "check STOPLINE_API_URL, DNS, TLS",
        )
    return Finding(Level.OK, "API", f"{host}:{port} takes connections (no call was made)")
