"""A real HTTP server that behaves like the upstream, with scripted faults.

    stopline simulate-api --faults faults.json

A faults file is a JSON list of rules. The first rule whose ids match a call gives its replies in
order, one a call; when they are used up, calls succeed:

    [{"task_id": "flaky-*", "replies": [{"http_status": 500, "times": 2}]},
     {"task_id": "slow",    "replies": [{"action": "hang"}]}]

`GET /simulator/calls` tells what was called: how often in all, how many targets, the most calls of
one target; with `?target=user/task[/sub]` the calls of one target; with `?times=1` when each came,
in seconds. `PUT /simulator/token` with a token as its body makes that the one that is asked for, as
a rotation does. `PUT /simulator/outage` with a reply of a rule as its body answers all calls with
it, until `DELETE`.

It also lists tasks, in both dialects (`…/user/{user_id}/task`, `…/new/user/{user_id}/task`): those
that were called for, paused once a call for them was answered with success, unless their rule says
`keeps_running`.
"""

from __future__ import annotations

import asyncio
import fnmatch
import sys
import time
from collections import defaultdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from stopline.contract import describe
from stopline.errors import InvalidSettingsError, StoplineError, UnavailableError
from stopline.settings.names import SIMULATED_TOKEN

SUCCESS: Final = {"status": "success", "code": 200, "message": "暂停任务成功"}
_DRIP_S: Final = 1.0
_TASK_STOP: Final = "/agent-api/user/{user_id}/task_stop/{task_id}"
_CALLS: Final = "/simulator/calls"
_TOKEN: Final = "/simulator/token"  # noqa: S105  # a path
_OUTAGE: Final = "/simulator/outage"
_LISTS: Final[dict[str, dict[bool, dict[str, object]]]] = {
    "/agent-api/user/{user_id}/task": {True: {"status": 1}, False: {"status": 2}},
    "/agent-api/new/user/{user_id}/task": {
        True: {"enable": False, "call_status": False},
        False: {"enable": True, "call_status": True},
    },
}
"""How each dialect says that a task is paused, or runs."""


class Action(StrEnum):
    """What the server does with a call."""

    REPLY = "reply"
    RESET = "reset"
    """Cut the connection without a reply."""
    HANG = "hang"
    """Never reply."""
    DRIP = "drip"
    """Begin a reply and send a byte a second for ever."""


class ScriptedReply(BaseModel):
    """One reply of a rule, given `times` times; without `text` or `json` a body that fits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    action: Action = Action.REPLY
    http_status: int = Field(default=200, ge=200, le=599)
    headers: dict[str, str] = Field(default_factory=dict)
    body: dict[str, Any] | None = None
    text: str | None = None
    delay_s: float = Field(default=0, ge=0)
    times: int = Field(default=1, ge=1)


class Rule(BaseModel):
    """Replies for the calls whose ids match, with `*` as in file names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user_id: str = "*"
    task_id: str = "*"
    sub_user_id: str = "*"
    replies: tuple[ScriptedReply, ...]
    keeps_running: bool = False
    """Whether the tasks go on, though success was the answer."""
    for_ever: bool = False
    """Repeat the last reply instead of succeeding when they are used up."""

    def matches(self, user_id: str, task_id: str, sub_user_id: str) -> bool:
        """Whether the rule is for a call."""
        return all(
            fnmatch.fnmatchcase(value, pattern)
            for value, pattern in (
                (user_id, self.user_id),
                (task_id, self.task_id),
                (sub_user_id, self.sub_user_id),
            )
        )

    def reply(self, earlier_calls: int) -> ScriptedReply | None:
        """The reply to a target's call after so many earlier ones; None: success."""
        script = [reply for reply in self.replies for _ in range(reply.times)]
        if earlier_calls < len(script):
            return script[earlier_calls]
        return script[-1] if self.for_ever and script else None


def read_faults(path: Path) -> tuple[Rule, ...]:
    """The rules of a faults file.

    Raises:
        InvalidSettingsError: the file cannot be read, or a rule is wrong.
    """
    try:
        return TypeAdapter(tuple[Rule, ...]).validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidSettingsError(f"--faults: cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        field, reason = describe(error)
        raise InvalidSettingsError(f"--faults: {path}: rule {field}: {reason}") from None


class SimulatedApi:
    """The server's state: the rules, and the calls so far."""

    def __init__(
        self,
        rules: tuple[Rule, ...] = (),
        *,
        token: str | None = None,
        latency_s: float = 0.0,
    ) -> None:
        self.token = token
        self._rules = rules
        self._latency_s = latency_s
        self._calls: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self._unauthorized = 0
        self._outage: ScriptedReply | None = None
        self._times: list[float] = []
        self._paused: set[tuple[str, str]] = set()

    def app(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application()
        app.router.add_get(_TASK_STOP, self._task_stop)
        app.router.add_get(_CALLS, self._tell_calls)
        app.router.add_put(_TOKEN, self._rotate)
        app.router.add_put(_OUTAGE, self._begin_outage)
        app.router.add_delete(_OUTAGE, self._end_outage)
        for path, shown in _LISTS.items():
            app.router.add_get(path, partial(self._list, shown))
        return app

    async def _task_stop(self, request: web.Request) -> web.StreamResponse:
        ids = request.match_info
        sub_user_id = request.query.get("sub_user_id", "")
        target = "/".join(filter(None, (ids["user_id"], ids["task_id"], sub_user_id)))
        earlier = len(self._calls[target])
        self._calls[target].append(_call(request))
        self._times.append(time.time())
        if not self._is_authorized(request):
            self._unauthorized += 1
            return _json({"status": "error", "code": 401, "message": "unauthorized"}, 401)
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        if self._outage is not None:
            return await _act(request, self._outage)
        rule = self._rule_of(ids["user_id"], ids["task_id"], sub_user_id)
        reply = None if rule is None else rule.reply(earlier)
        if reply is not None:
            return await _act(request, reply)
        if rule is None or not rule.keeps_running:
            self._paused.add((ids["user_id"], ids["task_id"]))
        return _json(SUCCESS)

    def _rule_of(self, *ids: str) -> Rule | None:
        return next((rule for rule in self._rules if rule.matches(*ids)), None)

    async def _list(
        self, shown: dict[bool, dict[str, object]], request: web.Request
    ) -> web.StreamResponse:
        """A page of a user's tasks, those that were called for first."""
        if not self._is_authorized(request):
            return _json({"status": "error", "code": 401, "message": "unauthorized"}, 401)
        if self._outage is not None:
            return await _act(request, self._outage)
        user_id = request.match_info["user_id"]
        page, size = int(request.query.get("page", "1")), int(request.query.get("per_page", "10"))
        targets = (target.split("/") for target in self._calls)
        tasks = list(dict.fromkeys(task for user, task, *_ in targets if user == user_id))[::-1]
        some = tasks[(page - 1) * size : page * size]
        data = [{"uuid": task, **shown[(user_id, task) in self._paused]} for task in some]
        last = max(1, -(-len(tasks) // size))
        meta = {"total": len(tasks), "current_page": page, "last_page": last, "per_page": size}
        return _json({**SUCCESS, "message": "ok", "meta": meta, "data": data})

    async def _begin_outage(self, request: web.Request) -> web.Response:
        self._outage = ScriptedReply.model_validate_json(await request.read())
        return _json({"status": "success"})

    async def _end_outage(self, _request: web.Request) -> web.Response:
        self._outage = None
        return _json({"status": "success"})

    async def _rotate(self, request: web.Request) -> web.Response:
        self.token = (await request.text()).strip()
        return _json({"status": "success"})

    def _is_authorized(self, request: web.Request) -> bool:
        sent = request.headers.get("Authorization")
        return self.token is None or sent == f"Bearer {self.token}"

    async def _tell_calls(self, request: web.Request) -> web.Response:
        if request.query.get("times"):
            return _json(self._times)
        target = request.query.get("target")
        if target is not None:
            return _json(list(self._calls.get(target, ())))
        counts = [len(calls) for calls in self._calls.values()]
        return _json(
            {
                "calls": sum(counts),
                "targets": len(counts),
                "most_calls_of_a_target": max(counts, default=0),
                "unauthorized": self._unauthorized,
            }
        )


def _call(request: web.Request) -> dict[str, Any]:
    # The token itself is not repeated: what tells calls is shown to people.
    return {
        "at": time.time(),
        "content_type": request.headers.get("Content-Type"),
        "cookie": request.headers.get("Cookie"),
        "query": request.query_string,
    }


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


async def _act(request: web.Request, reply: ScriptedReply) -> web.StreamResponse:
    if reply.delay_s:
        await asyncio.sleep(reply.delay_s)
    match reply.action:
        case Action.REPLY:
            return _scripted(reply)
        case Action.RESET:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        case Action.HANG:
            await asyncio.Event().wait()
        case Action.DRIP:
            await _drip(request)
    return web.Response()


def _scripted(reply: ScriptedReply) -> web.Response:
    if reply.text is not None:
        response = web.Response(text=reply.text, status=reply.http_status)
    else:
        failed = {"status": "error", "code": reply.http_status, "message": "scripted fault"}
        success = 200 <= reply.http_status < 300  # noqa: PLR2004  # the 2xx statuses
        response = _json(reply.body or (SUCCESS if success else failed), reply.http_status)
    response.headers.update(reply.headers)
    return response


async def _drip(request: web.Request) -> None:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(_DRIP_S)


async def _serve(api: SimulatedApi, port: int, *, as_json: bool) -> None:
    runner = web.AppRunner(api.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    try:
        await site.start()
    except OSError as error:
        raise UnavailableError(f"Port {port} cannot be used: {error.strerror}") from None
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    sys.stdout.write(
        orjson.dumps({"url": url}).decode() + "\n"
        if as_json
        else f"The simulated API listens on {url}\n"
        f"  STOPLINE_API_URL={url} STOPLINE_API_TOKEN=any stopline up\n"
        f"  calls so far: {url}{_CALLS}\n"
    )
    sys.stdout.flush()
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main(
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8900,
    latency_ms: Annotated[float, typer.Option(min=0)] = 0,
    faults: Annotated[Path | None, typer.Option()] = None,
    token: Annotated[str | None, typer.Option(envvar=SIMULATED_TOKEN)] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Serve until interrupted."""
    try:
        rules = read_faults(faults) if faults else ()
        api = SimulatedApi(rules, token=token, latency_s=latency_ms / 1000)
        asyncio.run(_serve(api, port, as_json=as_json))
    except StoplineError as error:
        sys.stderr.write(f"stopline: {error}\n")
        raise typer.Exit(3 if isinstance(error, UnavailableError) else 2) from None
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
