"""`/v1/guards`, `/v1/holds`: what keeps back sources that go wild, and what is held."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import unquote

import orjson
from fastapi import APIRouter, Query, Request

from stopline.contract import HeldPlace, HoldResult
from stopline_gateway.bodies import read_document, read_none
from stopline_gateway.documents import (
    GuardRules,
    GuardsReply,
    HeldPage,
    HoldResults,
    Holds,
)
from stopline_gateway.keys import Scope
from stopline_gateway.problems import Kind, Problem
from stopline_gateway.replies import BODY, body_of, json_reply, problems
from stopline_gateway.routes.direct import DirectRoute
from stopline_gateway.services import services_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from stopline import AsyncStopClient
    from stopline.contract import OpenRequest
    from stopline_gateway.services import Services

router = APIRouter(prefix="/v1", tags=["guards"], route_class=DirectRoute)
_A_CALL_MAX: Final = 1_000
"""Held requests that one call lets go or drops."""
_RULES = body_of({"application/json": {"schema": {"$ref": "#/components/schemas/GuardRules"}}})
_HOLDS = body_of({"application/json": {"schema": {"$ref": "#/components/schemas/Holds"}}})


@router.get(
    "/guards",
    operation_id="listGuards",
    summary="All guards, and how they are",
    response_model=None,
    responses={
        200: {"description": "All of them.", "model": GuardsReply},
        **problems(),
    },
)
async def list_guards(request: Request) -> Response:
    """Which have tripped, and how many requests each holds."""
    services = services_of(request)
    await services.admit(request, Scope.READ)
    return await _guards(services)


@router.put(
    "/guards",
    operation_id="putGuards",
    summary="Put guards in the place of those that are there",
    response_model=None,
    responses={
        200: {"description": "All that there are now.", "model": GuardsReply},
        **problems(*BODY, Kind.CHANGED, Kind.FULL),
    },
    openapi_extra=_RULES,
)
async def put_guards(request: Request) -> Response:
    """All in one step. With `version`, of the guards that you saw, only if they still are these."""
    services = services_of(request)
    caller = await services.admit(request, Scope.OPERATE)
    wanted = await read_document(request, services.whole, GuardRules)
    client = services.client
    if not await client.guards.apply(wanted.guards, seen=wanted.version, actor=caller.actor):
        raise Problem(Kind.CHANGED, "Other guards were put there meanwhile: look at them first.")
    return await _guards(services)


@router.post(
    "/guards/{source:path}/reset",
    operation_id="resetGuard",
    summary="Let a guard begin anew",
    response_model=None,
    responses={
        200: {"description": "All guards.", "model": GuardsReply},
        **problems(Kind.NOT_FOUND, Kind.TOO_LARGE, Kind.FULL),
    },
)
async def reset_guard(request: Request, source: str) -> Response:
    """What it holds, it holds still."""
    services = services_of(request)
    caller = await services.admit(request, Scope.OPERATE)
    await read_none(request)
    if await services.client.guards.reset(unquote(source), actor=caller.actor) is None:
        raise Problem(Kind.NOT_FOUND, "There is no guard of that source.")
    return await _guards(services)


@router.get(
    "/holds",
    operation_id="listHolds",
    summary="What guards hold, the oldest of each first",
    response_model=None,
    responses={
        200: {"description": "A page.", "model": HeldPage},
        **problems(),
    },
)
async def list_holds(
    request: Request,
    guard: Annotated[
        str | None,
        Query(min_length=1, max_length=200, description="Only of the guard with this source."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=250)] = 50,
    cursor: Annotated[
        str | None, Query(max_length=1_000, description="`next` of the page before.")
    ] = None,
) -> Response:
    """Requests that are neither called for nor in the way of others of their targets."""
    services = services_of(request)
    await services.admit(request, Scope.READ)
    stops, place = await _page(services, guard, cursor, limit)
    shown = [one.to_json() for one in stops]
    return json_reply({"stops": shown, "next": None if place is None else _cursor(place)})


@router.post(
    "/holds/release",
    operation_id="releaseHolds",
    summary="Let held requests go",
    response_model=None,
    responses={
        200: {"description": "What came of it, counted.", "model": HoldResults},
        **problems(*BODY, Kind.FULL),
    },
    openapi_extra=_HOLDS,
)
async def release_holds(request: Request) -> Response:
    """What was stopped or resumed meanwhile is not called for. A thousand at a time."""
    services = services_of(request)
    caller = await services.admit(request, Scope.OPERATE)
    ids, has_more = await _chosen(request, services)
    results = await services.client.guards.release(ids, actor=caller.actor)
    return _told(results.values(), has_more=has_more)


@router.post(
    "/holds/discard",
    operation_id="discardHolds",
    summary="Drop held requests",
    response_model=None,
    responses={
        200: {"description": "What came of it, counted.", "model": HoldResults},
        **problems(*BODY, Kind.FULL),
    },
    openapi_extra=_HOLDS,
)
async def discard_holds(request: Request) -> Response:
    """They end as `cancelled`. A thousand at a time."""
    services = services_of(request)
    caller = await services.admit(request, Scope.OPERATE)
    ids, has_more = await _chosen(request, services)
    guards = services.client.guards
    results = await guards.discard(ids, by=caller.name, actor=caller.actor)
    return _told(results.values(), has_more=has_more)


async def _guards(services: Services) -> Response:
    found = await services.client.guards.look()
    views = [one.to_json() for one in found.views]
    return json_reply({"guards": views, "version": found.version})


async def _chosen(request: Request, services: Services) -> tuple[Sequence[str], bool]:
    """Which held requests are meant, and whether there are more than one call takes."""
    holds = await read_document(request, services.whole, Holds)
    if [holds.ids is not None, holds.guard is not None, holds.all is True].count(True) != 1:
        raise Problem(Kind.INVALID, 'Give "ids", or "guard", or "all": true; one of them.')
    if holds.ids is not None:
        return holds.ids, False
    ids = await held_ids(services.client, holds.guard, _A_CALL_MAX + 1)
    return ids[:_A_CALL_MAX], len(ids) > _A_CALL_MAX


async def held_ids(client: AsyncStopClient, guard: str | None, limit: int) -> list[str]:
    """Ids of what a guard holds (None: all of them), the oldest first."""
    found: list[str] = []
    for view in (await client.guards.look()).views:
        if guard in {None, view.source}:
            async for one in client.guards.held(view.source):
                found.append(one.request_id)
                if len(found) >= limit:
                    return found
    return found


def _told(results: object, *, has_more: bool) -> Response:
    counts = Counter(results)  # type: ignore[call-overload]  # values of a dict
    told = {kind: counts[kind] for kind in HoldResult if counts[kind]}
    return json_reply({"results": told, "more": has_more})


async def _page(
    services: Services, guard: str | None, cursor: str | None, limit: int
) -> tuple[list[OpenRequest], HeldPlace | None]:
    """As many as there are to be, of one guard after the other."""
    client = services.client
    sources = [guard] if guard else [one.source for one in (await client.guards.look()).views]
    place = _place(cursor) if cursor else HeldPlace(sources[0]) if sources else None
    found: list[OpenRequest] = []
    while place is not None and len(found) < limit:
        page = await client.guards.held_page(place, limit=limit - len(found))
        found += page.requests
        place = page.place or _following(sources, place)
    return found, place


def _following(sources: list[str], place: HeldPlace) -> HeldPlace | None:
    behind = sources[sources.index(place.source) + 1 :] if place.source in sources else []
    return HeldPlace(behind[0]) if behind else None


def _cursor(place: HeldPlace) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(list(place))).decode()


def _place(cursor: str) -> HeldPlace:
    try:
        source, score, request_id = orjson.loads(base64.urlsafe_b64decode(cursor))
        return HeldPlace(str(source), int(score), str(request_id))
    except (ValueError, TypeError, binascii.Error):
        raise Problem(Kind.INVALID, "cursor: this is none.", field="cursor") from None
