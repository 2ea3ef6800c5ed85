"""What a sender writes never leads into our own network, however it is written."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from stopline_outcomes.addresses import HostRules, canonical, is_public
from stopline_outcomes.network import CheckedBackend, RefusedAddressError

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fc00::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::1",
    "2002:a00:1::",
    "168.63.129.16",
    "fec0::1",
    "3fff::1",
    "192.88.99.1",
    "2001:4860::5efe:7f00:1",
    "2001:4860::200:5efe:10.0.0.1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_nobody_elses_address_is_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_what_everybody_can_reach_is(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("hooks.example.com", True),
        ("HOOKS.example.com.", True),
        ("example.com", False),
        ("evil.example.com", False),
        ("hooks.example.com.evil.org", False),
        ("a.partner.org", True),
        ("a.b.partner.org", True),
        ("partner.org", False),
        ("evilpartner.org", False),
        ("10.1.2.3", True),
        ("10.2.2.3", False),
        ("8.8.8.8", False),
        ("::ffff:10.1.2.3", True),
        ("2130706433", False),
        ("0x7f.1", False),
    ],
)
def test_names_and_networks_that_are_listed(host: str, is_allowed: bool) -> None:
    rules = HostRules(("hooks.example.com", "*.partner.org", "10.1.0.0/16"))
    assert rules.allows_name(host) is is_allowed


@pytest.mark.parametrize("entry", ["", "*", "*.", "http://a", "a b", "10.0.0.1/8", "a..b", "ä.de"])
def test_what_is_neither_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="no name of a host"):
        HostRules((entry,))


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """A listener on loopback that nobody may connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        yield listener
        with pytest.raises(TimeoutError):
            listener.accept()


def _connect(rules: HostRules, host: str, port: int) -> None:
    async def main() -> None:
        stream = await CheckedBackend(rules).connect_tcp(host, port, timeout=5)
        await stream.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "127.1",
        "0",
        "::ffff:127.0.0.1",
        "[::1]".strip("[]"),
    ],
)
def test_no_way_to_write_loopback_connects_to_it(trap: socket.socket, host: str) -> None:
    with pytest.raises(httpcore.ConnectError):
        _connect(HostRules(("hooks.example.com",)), host, trap.getsockname()[1])


def test_a_name_that_changes_what_it_means_is_looked_up_once(
    trap: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check and the connection see one answer: a second one would be the attacker's."""
    answers = [["198.51.100.7"], ["127.0.0.1"]]
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        found = answers.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    rules = HostRules(("rebinding.example.com",))
    port = trap.getsockname()[1]
    for _ in range(2):
        with pytest.raises(RefusedAddressError):
            _connect(rules, "rebinding.example.com", port)
    assert asked == ["rebinding.example.com"] * 2


def test_of_several_addresses_only_those_that_are_allowed_are_tried(
    trap: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def getaddrinfo(_host: str, port: int, **_: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in ("127.0.0.1", "8.8.8.8")
        ]

    async def connect_tcp(_self: object, host: str, *_: Any) -> None:
        tried.append(host)
        raise httpcore.ConnectError("nobody answers")

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    monkeypatch.setattr("httpcore.AnyIOBackend.connect_tcp", connect_tcp)
    with pytest.raises(httpcore.ConnectError, match="nobody answers"):
        _connect(HostRules(("two.example.com",)), "two.example.com", trap.getsockname()[1])
    assert tried == ["8.8.8.8"]


def test_loopback_is_reached_where_it_is_listed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _connect(HostRules(("127.0.0.0/8",)), "127.0.0.1", listener.getsockname()[1])
        listener.settimeout(10)
        accepted, (peer, _) = listener.accept()
        accepted.close()
    assert peer == "127.0.0.1"


def test_a_name_server_that_hangs_takes_one_thread_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = threading.Event()
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        if host == "slow.example.com":
            hangs.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)

    async def main(port: int) -> None:
        backend = CheckedBackend(HostRules(("127.0.0.0/8",)))
        slow = [backend.connect_tcp("slow.example.com", port, timeout=5) for _ in range(50)]
        waiting = [asyncio.create_task(one) for one in slow]  # type: ignore[arg-type]
        stream = await backend.connect_tcp("well.example.com", port, timeout=5)
        await stream.aclose()
        await asyncio.to_thread(lambda: None)
        hangs.set()
        for one in await asyncio.gather(*waiting):
            await one.aclose()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        asyncio.run(main(listener.getsockname()[1]))
    assert asked.count("slow.example.com") == 1


@pytest.mark.parametrize(
    "host", ["127.0.0.9", "[::ffff:127.0.0.9]", "[::ffff:7f00:9]", "[0:0:0:0:0:ffff:7f00:9]"]
)
def test_one_host_counts_as_one_however_it_is_written(host: str) -> None:
    assert canonical(host.strip("[]")) == "127.0.0.9"
    assert canonical("HOOKS.example.com.") == canonical("hooks.example.com")
