"""What each page shows, as a part of a page that is also sent when it changes."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any, Final

import orjson

from stopline.contract import (
    DEAD_OUTCOMES,
    DeadFilter,
    HeldPlace,
    Lane,
    Outcome,
    OutcomeKind,
    State,
    is_identifier,
    letter_id,
)
from stopline.errors import UnknownRequestError
from stopline_gateway.console import choosing, failures
from stopline_gateway.console.rendering import fragment
from stopline_gateway.console.timeline import timeline
from stopline_gateway.pages import Cursor, batch_cursor, page_of, read_batch_cursor, request_filter
from stopline_gateway.problems import Kind, Problem
from stopline_gateway.shared import Shared

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markupsafe import Markup
    from starlette.requests import Request

    from stopline import AsyncStopClient
    from stopline.contract import DeadLetter, RequestFilter, Status
    from stopline_gateway.console.sessions import Session
    from stopline_gateway.services import Services
    from stopline_gateway.sight import Seen

_ROWS: Final = 50
_GROUPS_HOLD_S: Final = 5.0
_WAITING_LOOKED_AT: Final = 200
_AUDIT_MAX: Final = 10_000
"""Entries of the trail that a page looks at."""
FILTERS: Final = ("state", "outcome", "lane", "user_id", "task_id", "source", "batch_id")


def known(request: Request, name: str) -> str:
    """An id from a path; raises `Problem` for what can be none."""
    value: str = request.path_params[name]
    if not is_identifier(value):
        raise Problem(Kind.NOT_FOUND, "There is no such thing: this is no id.")
    return value


def filter_of(values: Mapping[str, str]) -> RequestFilter:
    """Which requests a query or a form means; raises `Problem`."""
    return request_filter(**{name: values.get(name) or None for name in FILTERS})


class Looking:
    """Reads the ledger for pages."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._client: AsyncStopClient = services.client
        self._overview: tuple[Seen, Markup] | None = None
        self._one_makes_it = asyncio.Lock()
        self._groups = Shared(self._newest_groups, _GROUPS_HOLD_S)

    async def seen(self) -> Seen:
        """How the whole deployment does."""
        return await self._services.sight.look()

    # --- pages ------------------------------------------------------------------------------------

    async def overview(self, _request: Request, _session: Session) -> Markup:
        """The same for all who look: it is made twice a second at most."""
        seen = await self.seen()
        async with self._one_makes_it:
            if self._overview is None or self._overview[0] is not seen:
                page = fragment(
                    "overview_body.html",
                    seen=seen,
                    pulse=seen.pulse,
                    health=seen.health,
                    groups=await self._groups.get() if seen.overview.dead_letters else (),
                    waits=await self._waits(seen),
                    memory=seen.overview.memory,
                )
                self._overview = (seen, page)
            return self._overview[1]

    async def _newest_groups(self) -> tuple[failures.Group, ...]:
        """Failures that are alike; they take ten calls to read, and are not read at each look."""
        return failures.grouped(await choosing.newest(self._client))[:8]

    async def _waits(self, seen: Seen) -> tuple[failures.Wait, ...]:
        if not any(one.open[State.WAITING] for one in seen.pulse.lanes):
            return ()
        wanted = request_filter(state=State.WAITING)
        page = await self._client.view.open_page(wanted, limit=_WAITING_LOOKED_AT)
        return failures.waits(page.requests)[:6]

    async def requests(self, request: Request, session: Session) -> Markup:
        """A page of requests by a filter."""
        query = request.query_params
        wanted = filter_of(query)
        cursor = Cursor.parse(query["cursor"]) if query.get("cursor") else None
        ended = (
            wanted.state is None and query.get("list") == "ended"
        ) or wanted.outcome is not None
        page = await page_of(self._client, wanted, cursor, _ROWS, ended=ended)
        return fragment(
            "requests_body.html",
            page=page,
            wanted=wanted,
            ended=ended,
            session=session,
            here={name: query[name] for name in ("list", *FILTERS) if query.get(name)},
        )

    async def request(self, request: Request, session: Session) -> Markup:
        """One request's life."""
        status = await self._status(known(request, "request_id"))
        is_dead = False
        if isinstance(status, Outcome) and status.outcome in DEAD_OUTCOMES:
            try:
                await self._client.dead_letter(status.request_id)
                is_dead = True
            except UnknownRequestError:
                pass
        return fragment(
            "request_body.html",
            status=status,
            outcome=status if isinstance(status, Outcome) else None,
            steps=timeline(status),
            is_dead=is_dead,
            session=session,
        )

    async def _status(self, request_id: str) -> Status:
        """What the ledger has of a request; else the archive, which keeps it longer."""
        try:
            return await self._client.status(request_id)
        except UnknownRequestError:
            found = await self._services.history.find(request_id)
            if found is None:
                raise
            return found

    async def target(self, request: Request, session: Session) -> Markup:
        """What is known of a target."""
        path = request.path_params
        view = await self._client.view.target(
            path["user_id"], path["task_id"], path.get("sub_user_id")
        )
        if view is None:
            raise Problem(Kind.NOT_FOUND, "Nothing is known of this target (any more).")
        return fragment("target_body.html", view=view, session=session)

    async def batches(self, request: Request, _session: Session) -> Markup:
        """The last batches, or those before a moment."""
        until = read_batch_cursor(request.query_params.get("cursor"))
        batches, further = await self._client.view.batches(until=until, limit=_ROWS)
        return fragment("batches_body.html", batches=batches, next=batch_cursor(further))

    async def batch(self, request: Request, session: Session) -> Markup:
        """One batch, and why some of it failed."""
        batch = await self._client.batch(known(request, "batch_id"))
        failed = sum(batch.outcomes[kind] for kind in DEAD_OUTCOMES)
        letters = []
        if failed:
            of_batch = choosing.Letters(wanted=DeadFilter(batch_id=batch.batch_id))
            letters = await of_batch.found(self._client)
        return fragment(
            "batch_body.html",
            batch=batch,
            failed=failed,
            groups=failures.grouped(letters),
            session=session,
        )

    async def dead(self, request: Request, session: Session) -> Markup:
        """Dead letters: grouped, and the newest of them."""
        letters = choosing.letters_of(request.query_params)
        of_filter = await choosing.Letters(wanted=letters.wanted).found(self._client)
        rows = [one for one in of_filter if letters.means(one)]
        return fragment(
            "dead_body.html",
            groups=failures.grouped(of_filter),
            rows=rows[:_ROWS],
            count=len(rows),
            total=await self._client.dead_count(),
            looked_at_most=choosing.LETTERS_MAX,
            letters=letters,
            here=_query_of(letters),
            session=session,
            failures=failures,
            letter_id=letter_id,
        )

    async def letter(self, request: Request, session: Session) -> Markup:
        """One quarantined message, with its body."""
        letter = await self._client.dead_letter(request.path_params["letter_id"])
        return fragment("letter_body.html", letter=letter, session=session, body=_body_text(letter))

    async def workers(self, _request: Request, session: Session) -> Markup:
        """Processes, what stands still, and lanes that are paused."""
        seen = await self.seen()
        return fragment("workers_body.html", health=seen.health, session=session)

    async def guards(self, request: Request, session: Session) -> Markup:
        """Guards, and what one of them holds."""
        seen = await self.seen()
        guard = request.query_params.get("guard")
        page = None
        if guard:
            page = await self._client.guards.held_page(HeldPlace(guard), limit=_ROWS)
        return fragment(
            "guards_body.html", guards=seen.guards, guard=guard, page=page, session=session
        )

    async def audit(self, request: Request, _session: Session) -> Markup:
        """Who changed what."""
        query = request.query_params
        entries = []
        looked_at = 0
        async for entry in self._client.audit_trail():
            looked_at += 1
            if (
                query.get("actor") in {None, "", entry.actor}
                and query.get("key") in {None, "", entry.key}
                and (not query.get("task_id") or entry.is_about(query["task_id"]))
            ):
                entries.append(entry)
            if len(entries) >= _ROWS * 2 or looked_at >= _AUDIT_MAX:
                break
        else:
            looked_at = 0
        return fragment("audit_body.html", entries=entries, looked_at=looked_at)

    # --- beside them ------------------------------------------------------------------------------

    async def chart(self) -> str:
        """The last hour for the chart: seconds, stops a second, and p50 and p99 of each lane."""
        points = (await self.seen()).points
        rows: dict[str, list[Any]] = {
            "at": [round(one.at.timestamp(), 1) for one in points],
            "stops": [round(one.stopped_per_s, 3) for one in points],
        }
        for lane in Lane:
            rows[f"p50 {lane}"] = [_milliseconds(one.p50_s[lane]) for one in points]
            rows[f"p99 {lane}"] = [_milliseconds(one.p99_s[lane]) for one in points]
        return orjson.dumps(rows).decode()

    async def search(self, text: str) -> str | None:
        """Where a text that somebody looks for leads; None: nothing has that id."""
        parts = text.strip("/").split("/")
        if len(parts) in {2, 3} and all(map(is_identifier, parts)):
            return "/console/targets/" + "/".join(parts)
        for one in dict.fromkeys((text, text.lower())) if is_identifier(text) else ():
            for kind, look in (
                ("requests", self._client.status),
                ("batches", self._client.batch),
                ("dead", self._client.dead_letter),
            ):
                try:
                    found: Any = await look(one)
                except UnknownRequestError:
                    continue
                named: str = getattr(found, "request_id", one)
                return f"/console/{kind}/{named}"
        return None


def _query_of(letters: choosing.Letters) -> dict[str, str]:
    """What the address of a page says of letters, so that its links keep it."""
    wanted = letters.wanted
    given = {
        "kind": wanted.outcome and wanted.outcome.value,
        "user_id": wanted.user_id,
        "batch_id": wanted.batch_id,
        "outcome": letters.outcome,
        "reason": letters.reason,
    }
    return {name: value for name, value in given.items() if value}


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _body_text(letter: DeadLetter) -> str:
    body = getattr(letter, "body", "")
    return base64.b64decode(body).decode("utf-8", "backslashreplace") if body else ""


CHOICES: Final = {"state": tuple(State), "outcome": tuple(OutcomeKind), "lane": tuple(Lane)}
"""What the filters of a page may be set to."""
