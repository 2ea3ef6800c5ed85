"""The way of request ids from the consumer to the engines: one socket that all of them read.

The processes of a pool share it, since they are forked from the one that made it. Whoever has room
reads next, so a full engine holds up no other; and the kernel takes only a few messages, so that
what the engines cannot take is left on the queues, where other workers find it.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from stopline.contract import MESSAGE_IDS_MAX

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Sequence

_SEPARATOR: Final = b"\n"
"""No id has it."""
_BYTES_MAX: Final = MESSAGE_IDS_MAX * 129


class Inbox:
    """A pair of datagram sockets: each message arrives whole, and at one engine."""

    def __init__(self) -> None:
        self._sending, self._receiving = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for one in (self._sending, self._receiving):
            one.settimeout(0)

    def put(self, request_ids: Sequence[str]) -> bool:
        """Hand ids over, at most `MESSAGE_IDS_MAX`; False while no engine has room for them."""
        try:
            self._sending.send(_SEPARATOR.join(one.encode() for one in request_ids))
        except OSError:  # there is no room, there or in the kernel
            return False
        return True

    async def take(self, loop: AbstractEventLoop) -> list[str]:
        """The next ids, as soon as there are some that no other engine takes."""
        while True:
            message = await loop.sock_recv(self._receiving, _BYTES_MAX)
            if message:
                return [one.decode() for one in message.split(_SEPARATOR)]

    def close(self) -> None:
        """Close both ends."""
        self._sending.close()
        self._receiving.close()
