"""The gateway in this process, on a ledger in memory: what its tests call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

import httpx

from stopline.testing import AsyncFakeStopClient, World
from stopline_gateway.app import make_app
from stopline_gateway.keys import Scope, new_key
from stopline_gateway.services import Services
from stopline_gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterable
    from pathlib import Path
    from typing import TypeVar

    from stopline_events.policy import PolicySettings

    T = TypeVar("T")


class Desk:
    """Calls the gateway's app without a network.

    Args:
        world: the ledger, the API and the worker behind it.
        keys_file: the keys; None: none are asked for.
        settings: of the gateway.
    """

    def __init__(
        self,
        world: World | None = None,
        *,
        keys_file: Path | None = None,
        policy: PolicySettings | None = None,
        **settings: Any,
    ) -> None:
        self.world = world or World()
        self._runner = asyncio.Runner()
        given = GatewaySettings.load(keys_file=keys_file, **settings)
        client = AsyncFakeStopClient(self.world)
        keeps = self.world.limits.outcomes_max is not None
        self.services = Services.of(
            client, given, keeps_outcomes=keeps, call_timeout_s=20, policy=policy
        )
        self.app = make_app(self.services)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8077")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._http.aclose())
        self._runner.close()

    def run(self, what: Awaitable[T]) -> T:
        """Run something on the loop of the app."""

        async def waited() -> T:
            return await what

        return self._runner.run(waited())

    async def acall(
        self, method: str, path: str, *, key: str | None = None, **rest: Any
    ) -> httpx.Response:
        """Make a call, among others."""
        headers = httpx.Headers(rest.pop("headers", None))
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return await self._http.request(method, path, headers=headers, **rest)

    def call(
        self, method: str, path: str, *, key: str | None = None, **rest: Any
    ) -> httpx.Response:
        """Make a call."""
        return self.run(self.acall(method, path, key=key, **rest))

    def stop(self, user_id: str = "u", task_id: str = "t", **fields: Any) -> httpx.Response:
        """Ask for a task to be stopped."""
        return self.call(
            "POST", "/v1/stops", json={"user_id": user_id, "task_id": task_id, **fields}
        )


class KeyRing:
    """A file of keys, and the keys themselves."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: dict[str, str] = {}
        self._write()

    def add(self, source: str, *scopes: Scope, rate: str | None = None) -> str:
        """A new key."""
        made = new_key(source, scopes or tuple(Scope), rate)
        self._lines[made.key] = made.line.to_line()
        self._write()
        return made.key

    def revoke(self, key: str) -> None:
        """Take a key's line out."""
        del self._lines[key]
        self._write()

    def _write(self) -> None:
        self.path.write_text("# keys of a test\n" + "\n".join(self._lines.values()) + "\n")
        self.path.chmod(0o600)


def assert_problem(reply: httpx.Response, status: int, name: str, field: str | None = None) -> None:
    """Whether a reply is the problem document that it should be."""
    document = reply.json()
    assert (reply.status_code, document["type"]) == (status, f"urn:stopline:problem:{name}"), (
        document
    )
    assert reply.headers["content-type"] == "application/problem+json"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document.get("field") == field, document
    if status in {429, 503}:
        assert int(reply.headers["retry-after"]) >= 1


async def in_pieces(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    """A body that comes in pieces."""
    for piece in pieces:
        yield piece
