"""The doctor names what would break the promise, and what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from tests.support.processes import Stack


def _findings(stack: Stack) -> dict[str, dict[str, str]]:
    lines = stack.run("doctor", "--json").stdout.splitlines()
    return {one["checked"]: one for one in map(orjson.loads, lines)}


def test_everything_that_the_promise_rests_on_is_looked_at(stack: Stack) -> None:
    stack.api.start()
    assert set(_findings(stack)) == {
        "ledger",
        "settings",
        "timeouts",
        "API token",
        "server version",
        "persistence",
        "appendfsync",
        "eviction",
        "memory",
        "clock",
        "counters",
        "workers",
        "broker",
        "API",
    }
    assert stack.api.total["calls"] == 0


def test_each_finding_says_what_to_change(stack: Stack) -> None:
    stack.api.start()
    stack.settings |= {"durability": "fsync", "lease_s": 21, "visibility_timeout_s": 30}
    with stack.client_of_server() as server:
        server.config_set("maxmemory", int(server.info("memory")["used_memory"] * 1.2))
        server.config_set("maxmemory-policy", "allkeys-lru")
        found = _findings(stack)
        server.config_set("maxmemory-policy", "noeviction")
    advice = {name: one["advice"] for name, one in found.items() if one["level"] != "ok"}
    assert "STOPLINE_LEASE_S" in advice["timeouts"]
    assert "appendonly yes" in advice["persistence"]
    assert "STOPLINE_DURABILITY" in advice["durability"]
    assert "noeviction" in advice["eviction"]
    assert "maxmemory" in advice["memory"]
    assert "stopline health" in advice["workers"]
