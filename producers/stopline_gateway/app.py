"""The gateway as an ASGI app."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import orjson
from fastapi import FastAPI
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

import stopline
from stopline_gateway import openapi, problems
from stopline_gateway.console.app import Console
from stopline_gateway.heads import Heads
from stopline_gateway.routes import (
    adapters,
    batch_verbs,
    batches,
    dead_letters,
    events,
    guards,
    history,
    lanes,
    metrics,
    outcomes,
    probes,
    reports,
    resumes,
    stops,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from stopline_gateway.services import Services

_DESCRIPTION: Final = (
    "Reliable stops of tasks: every accepted request reaches exactly one outcome, whatever "
    "crashes; `stopped` only if a successful call began after the request was issued. Errors are "
    "problem documents (RFC 9457)."
)


_NOUNS: Final = (
    stops,
    batch_verbs,
    batches,
    reports,
    resumes,
    lanes,
    guards,
    history,
    events,
    adapters,
    outcomes,
    dead_letters,
    metrics,
    probes,
)


def make_app(services: Services) -> FastAPI:
    """The app; it closes the services when it ends."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        watching = [
            asyncio.create_task(services.access.watch()),
            asyncio.create_task(services.keep_flushing()),
        ]
        yield
        for task in watching:
            task.cancel()
        await services.close()

    app = FastAPI(
        title="Stopline",
        version=stopline.__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    app.state.routes = [route for module in _NOUNS for route in module.router.routes]
    # As they are: an included router is searched twice for each call.
    app.router.routes += app.state.routes
    problems.install(app)
    app.router.routes += Console(services).routes()
    _add_documents(app)
    app.add_middleware(Heads)
    return app


def _add_documents(app: FastAPI) -> None:
    """The OpenAPI document, for programs and people; made once, since anybody may ask for it."""

    @cache
    def document() -> dict[str, Any]:
        return openapi.make(app)

    @cache
    def written() -> bytes:
        return orjson.dumps(document())

    @cache
    def page() -> str:
        return openapi.page(document())

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way

    async def as_json(_request: Request) -> Response:
        return Response(written(), media_type="application/json")

    async def as_page(_request: Request) -> Response:
        policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"
        return HTMLResponse(page(), headers={"Content-Security-Policy": policy})

    app.router.routes += [Route("/openapi.json", as_json), Route("/docs", as_page)]
