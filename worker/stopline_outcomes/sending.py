"""Sends callbacks: signed, again and again for a day, and never to where it is not allowed."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpcore

import stopline
from stopline.client.callbacks import Follows, Sent
from stopline.errors import StoplineError
from stopline_outcomes.addresses import canonical
from stopline_outcomes.network import RefusedAddressError, pool_of
from stopline_outcomes.signing import headers

if TYPE_CHECKING:
    from stopline.client.callbacks import AsyncCallbackControl
    from stopline.contract import Callback
    from stopline_outcomes.callback_file import CallbackFile
    from stopline_outcomes.settings import CallbackSettings

_log = logging.getLogger(__name__)
_AT_ONCE: Final = 100
_OF_HOST: Final = 20
"""Of those at once: a host that hangs leaves room for others."""
_OF_SOURCE: Final = 60
_BREATH_S: Final = 0.002
_LEASE_MARGIN_S: Final = 30.0
_IDLE_S: Final = 0.25
_FULL_S: Final = 1.0
_AGAIN_S: Final = 1.0
_READ_MAX: Final = 64 << 10
_SETTLE_TOGETHER: Final = 100
_GONE: Final = 410
_DOUBLED_MAX: Final = 30
_TOO_LONG: Final = 6 * 3600.0
_AGENT: Final = f"stopline/{stopline.__version__}"


class Sending:
    """Claims callbacks that are due, and sends them.

    Args:
        callbacks: the client's.
        file: who is told, and how it is signed.
        settings: how long and how often.
    """

    def __init__(
        self, callbacks: AsyncCallbackControl, file: CallbackFile, settings: CallbackSettings
    ) -> None:
        self._callbacks = callbacks
        self._file = file
        self._settings = settings
        self._pool = pool_of(file.rules)
        self._ending = asyncio.Event()
        self._under_way: dict[asyncio.Task[None], None] = {}
        self._taken: Counter[str] = Counter()
        self._results: list[Sent] = []
        self.delivered = 0

    def end(self) -> None:
        """Have `run` return once what is under way has ended."""
        self._ending.set()

    async def run(self) -> None:
        """Send until `end`."""
        while not self._ending.is_set():
            try:
                found = await self._claim()
                await self._settle()
            except StoplineError as error:
                _log.warning("callbacks wait: %s", error, extra={"action": "callbacks_wait"})
                await self._pause(_AGAIN_S)
                continue
            if not found:
                await self._pause(_IDLE_S)
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=self._settings.timeout_s)
        with suppress(StoplineError):
            await self._settle()
        await self._pool.aclose()

    async def _claim(self) -> int:
        room = _AT_ONCE - len(self._under_way)
        if room <= 0:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            return 1
        lease_s = self._settings.timeout_s + _LEASE_MARGIN_S
        found = await self._callbacks.claim(room, lease_s)
        begun = [self._begins(one) for one in found]
        if found and not any(begun):
            await asyncio.sleep(_BREATH_S)  # behind those of a full host are others
        return len(found)

    def _begins(self, callback: Callback) -> bool:
        """Begin to send one; not where its host, or its source, has enough of them."""
        host = f"host {canonical(urlsplit(callback.url).hostname or '')}"
        source = f"source {callback.source}"
        if self._taken[host] >= _OF_HOST or self._taken[source] >= _OF_SOURCE:
            self._results.append(self._later(callback))
            return False
        self._taken.update((host, source))
        task = asyncio.create_task(self._send(callback, (host, source)))
        self._under_way[task] = None
        task.add_done_callback(self._under_way.pop)
        return True

    def _later(self, callback: Callback) -> Sent:
        delay_s = _FULL_S * random.uniform(0.2, 1)  # noqa: S311  # spreads load, hides nothing
        if self._is_over(callback, delay_s):
            return Sent(callback.callback_id, Follows.DEAD, said="its host was full all the time")
        return Sent(callback.callback_id, Follows.LATER, delay_s)

    async def _send(self, callback: Callback, takes: tuple[str, ...]) -> None:
        try:
            follows, said, least_s = await self._call(callback)
        except Exception as error:  # noqa: BLE001  # a fault of ours must not send it for ever
            _log.exception("callback not sent", extra={"action": "callback_failed"})
            follows, said, least_s = Follows.AGAIN, type(error).__name__, 0.0
        finally:
            self._taken.subtract(takes)
            for one in takes:  # names of senders and hosts: they must not stay for ever
                if not self._taken[one]:
                    del self._taken[one]
        self.delivered += follows is Follows.DONE
        delay_s = 0.0
        if follows is Follows.AGAIN:
            delay_s = max(least_s, self._backoff_s(callback.attempts))
            if self._is_over(callback, delay_s):
                follows = Follows.DEAD
        self._results.append(Sent(callback.callback_id, follows, delay_s, said))
        if len(self._results) >= _SETTLE_TOGETHER:
            with suppress(StoplineError):  # tried again by `run`; else they are sent once more
                await self._settle()

    async def _settle(self) -> None:
        some, self._results = self._results, []
        try:
            await self._callbacks.settle(some)
        except StoplineError:
            self._results = some + self._results
            raise

    async def _call(self, callback: Callback) -> tuple[Follows, str, float]:
        """Make one call; what follows, what came of it, and after how long at the least."""
        if not self._file.allows(callback.url):
            host = urlsplit(callback.url).hostname
            return Follows.DEAD, f"{host} is not in allow (STOPLINE_CALLBACKS_FILE)", 0.0
        body = callback.body.encode()
        secrets = self._file.of(callback.source).secrets
        signed = headers(secrets, callback.callback_id, int(time.time()), body)
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await self._post(callback.url, body, signed)
        except TimeoutError:
            return Follows.AGAIN, f"no reply within {self._settings.timeout_s:g} s", 0.0
        except RefusedAddressError as error:
            return Follows.AGAIN, str(error), 0.0
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            return Follows.AGAIN, f"{type(error).__name__}: {error}"[:200], 0.0
        except (ValueError, OSError, httpcore.UnsupportedProtocol) as error:
            return Follows.AGAIN, f"{type(error).__name__}"[:200], 0.0

    async def _post(
        self, url: str, body: bytes, signed: list[tuple[str, str]]
    ) -> tuple[Follows, str, float]:
        sent = [
            ("host", urlsplit(url).netloc),
            ("content-type", "application/json"),
            ("user-agent", _AGENT),
            *signed,
        ]
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), self._settings.timeout_s)
        async with self._pool.stream(
            "POST", _target_of(url), headers=sent, content=body, extensions={"timeout": timeouts}
        ) as reply:
            status = reply.status
            least_s = _retry_after_s(reply.headers)
            await _read_some(reply)
        if 200 <= status < 300:  # noqa: PLR2004  # success (RFC 9110)
            return Follows.DONE, "", 0.0
        if status == _GONE:
            return Follows.GONE, "410: it wants none any more", 0.0
        return Follows.AGAIN, f"it answered {status}", least_s

    def _backoff_s(self, attempts: int) -> float:
        most_s = min(
            self._settings.backoff_cap_s,
            self._settings.backoff_base_s * 2 ** min(attempts, _DOUBLED_MAX),
        )
        return float(most_s * random.uniform(0.5, 1.0))  # noqa: S311  # spreads load, hides nothing

    def _is_over(self, callback: Callback, delay_s: float) -> bool:
        since_s = time.time() + delay_s - callback.first_at / 1_000_000
        return since_s > self._settings.give_up_s

    async def _pause(self, longest_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._ending.wait()


def _target_of(url: str) -> httpcore.URL:
    """The URL as it was written: httpcore would leave out what follows a semicolon."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return httpcore.URL(
        scheme=parts.scheme, host=parts.hostname or "", port=parts.port, target=target
    )


async def _read_some(reply: httpcore.Response) -> None:
    """Read a short reply to its end, so that its connection serves again; leave a long one."""
    read = 0
    async for piece in reply.aiter_stream():
        read += len(piece)
        if read > _READ_MAX:
            return


def _retry_after_s(found: list[tuple[bytes, bytes]]) -> float:
    """Seconds that a receiver asks for; dates are left alone."""
    for name, value in found:
        if name.lower() == b"retry-after" and value.strip().isdigit():
            return min(float(value), _TOO_LONG)
    return 0.0
