"""Connections to addresses that were checked, and an HTTP pool that makes no others."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import httpcore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stopline_outcomes.addresses import Address, HostRules

_CONNECTIONS_MAX: Final = 200
_LOOKUPS_AT_ONCE: Final = 16
_IDLE_MAX: Final = 20
_IDLE_S: Final = 15.0


class RefusedAddressError(httpcore.ConnectError):
    """A name leads where no connection may be made."""


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Looks names up itself, and connects to addresses that are allowed, and to nothing else."""

    def __init__(self, rules: HostRules) -> None:
        self._rules = rules
        self._lookups = _Lookups()
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first allowed address of a host that answers."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._lookups.addresses(host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"the name {host} was not found in time") from None
        except OSError as error:
            raise httpcore.ConnectError(f"the name {host} leads nowhere: {error}") from None
        allowed = [one for one in addresses if self._rules.allows_address(one)]
        if not allowed:
            raise RefusedAddressError(f"{host} leads to an address that is not allowed")
        problem: Exception | None = None
        for one in allowed:
            try:
                return await self._inner.connect_tcp(
                    str(one), port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
        raise problem or httpcore.ConnectError(f"{host} has no address")

    async def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002  # httpcore's signature
        timeout: float | None = None,  # noqa: ARG002, ASYNC109
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise RefusedAddressError("no sockets of this machine")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class _Lookups:
    """Looks names up in threads of its own: a name server that hangs must take nobody else's.

    Who asks for a name that is being looked up waits for that, so a name takes one thread.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKUPS_AT_ONCE, thread_name_prefix="lookup")
        self._under_way: dict[tuple[str, int], asyncio.Future[list[Address]]] = {}

    async def addresses(self, host: str, port: int) -> list[Address]:
        """The addresses of a host, each once; the same for all ways to write one."""
        with suppress(ValueError):
            return [ipaddress.ip_address(host)]
        found = self._under_way.get((host, port))
        if found is None:
            loop = asyncio.get_running_loop()
            found = loop.run_in_executor(self._threads, _look_up, host, port)
            self._under_way[host, port] = found
            found.add_done_callback(lambda _: self._under_way.pop((host, port), None))
        return await asyncio.shield(found)


def _look_up(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    texts = (str(address[0]).partition("%")[0] for *_, address in found)
    return list(dict.fromkeys(ipaddress.ip_address(text) for text in texts))


def pool_of(
    rules: HostRules, context: ssl.SSLContext | None = None
) -> httpcore.AsyncConnectionPool:
    """A pool of connections: no proxies, no redirects, no cookies."""
    return httpcore.AsyncConnectionPool(
        ssl_context=context or ssl.create_default_context(),
        max_connections=_CONNECTIONS_MAX,
        max_keepalive_connections=_IDLE_MAX,
        keepalive_expiry=_IDLE_S,
        network_backend=CheckedBackend(rules),
    )
