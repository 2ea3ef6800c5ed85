"""Listening, and ending without leaving anybody waiting."""

from __future__ import annotations

import errno
import logging
import os
import socket
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from stopline import AsyncStopClient, Settings
from stopline.errors import UnavailableError
from stopline.garbage import collect_less_often
from stopline_gateway.app import make_app
from stopline_gateway.protocol import GuardedProtocol
from stopline_gateway.services import Services
from stopline_gateway.settings import PREFIX, GatewaySettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI

_BACKLOG: Final = 2048
_KEEP_ALIVE_S: Final = 75
"""Longer than the proxies' own, so that none sends a request into a connection that just closed."""


def listen(settings: GatewaySettings) -> socket.socket:
    """A socket that listens at the settings' address.

    Raises:
        UnavailableError: it is in use, or no address of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        advice = f"; set {PREFIX}PORT" if error.errno == errno.EADDRINUSE else ""
        raise UnavailableError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}{advice}"
        ) from None
    listener.set_inheritable(True)
    return listener


def url_of(listener: socket.socket) -> str:
    """The address at which a socket listens."""
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class GatewayServer(uvicorn.Server):
    """Uvicorn's server, which tells those who wait before it waits for them."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services

    async def shutdown(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Let those go who wait, then end as uvicorn does."""
        self._services.waiting.close()
        await super().shutdown(list(sockets or ()))


def serve(listener: socket.socket, settings: GatewaySettings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        InvalidSettingsError: settings or keys are wrong.
    """
    library = Settings.load()
    client = AsyncStopClient(library)
    services = Services.of(
        client,
        settings,
        keeps_outcomes=library.outcomes,
        call_timeout_s=library.call_timeout_s,
        library=library,
    )
    server = GatewayServer(_config(make_app(services), settings), services)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # what begins and ends is told already
    collect_less_often()
    server.run(sockets=[listener])


def _config(app: FastAPI, settings: GatewaySettings) -> uvicorn.Config:
    proxies: dict[str, Any] = {"proxy_headers": settings.trusted_proxies is not None}
    if settings.trusted_proxies is not None:
        proxies["forwarded_allow_ips"] = settings.trusted_proxies
    return uvicorn.Config(
        app,
        http=GuardedProtocol.bounded(settings),
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        backlog=_BACKLOG,
        **proxies,
    )


def inherited(descriptor: int) -> socket.socket:
    """The socket that another process opened."""
    return socket.socket(fileno=os.dup(descriptor))
