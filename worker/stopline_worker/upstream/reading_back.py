"""Reading the state of a task back after a success: from the API's lists, in either dialect.

The API promises no such list (docs/semantics.md); what cannot be read, or found, is `unknown`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, assert_never

import orjson

from stopline.contract import Verified
from stopline.settings.model import VerifyDialect
from stopline_worker.upstream.reply import NoReply

if TYPE_CHECKING:
    from stopline.contract import Target
    from stopline_worker.upstream.api_token import Credential
    from stopline_worker.upstream.reply import Reply
    from stopline_worker.upstream.task_stop import TaskStopApi

_PAGE: Final = 100
_PATHS: Final = {
    VerifyDialect.V1: "/agent-api/user/{user_id}/task",
    VerifyDialect.V2: "/agent-api/new/user/{user_id}/task",
}
_PAUSED, _RUNNING, _WAITING = 1, 2, 3


class Verifier:
    """Looks for a task in the lists of its user.

    Args:
        api: makes the calls.
        dialect: of the lists.
        pages: at most so many, of a hundred tasks each.
    """

    def __init__(self, api: TaskStopApi, dialect: VerifyDialect, pages: int) -> None:
        self._api = api
        self._dialect = dialect
        self._pages = pages

    async def check(self, target: Target, credential: Credential) -> Verified:
        """How the task is; never fails."""
        for page in range(1, self._pages + 1):
            query = f"page={page}&per_page={_PAGE}"
            if target.sub_user_id is not None:
                query += f"&sub_user_id={target.sub_user_id}"
            path = _PATHS[self._dialect].format(user_id=target.user_id)
            tasks, is_last = _read(await self._api.get(f"{path}?{query}", credential))
            for task in tasks:
                if task.get("uuid") == target.task_id:
                    return state_of(task, self._dialect)
            if is_last:
                break
        return Verified.UNKNOWN


def state_of(task: dict[str, Any], dialect: VerifyDialect) -> Verified:
    """How a list says that a task is; waiting ones will run, so they are not paused."""
    match dialect:
        case VerifyDialect.V1:
            known = {_PAUSED: Verified.PAUSED, _RUNNING: Verified.RUNNING}
            known[_WAITING] = Verified.RUNNING
            status = task.get("status")
            return known.get(status, Verified.UNKNOWN) if type(status) is int else Verified.UNKNOWN
        case VerifyDialect.V2:
            enabled = task.get("enable")
            if not isinstance(enabled, bool):
                return Verified.UNKNOWN
            return Verified.RUNNING if enabled else Verified.PAUSED
    assert_never(dialect)


def _read(result: Reply | NoReply) -> tuple[list[dict[str, Any]], bool]:
    """The tasks of a page, and whether it is the last; none of what is no page."""
    if isinstance(result, NoReply) or result.status != 200 or result.too_large:  # noqa: PLR2004
        return [], True
    try:
        body = orjson.loads(result.body)
        data, meta = body["data"], body.get("meta") or {}
        tasks = [one for one in data if isinstance(one, dict)]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return [], True
    last = meta.get("last_page") if isinstance(meta, dict) else None
    page = meta.get("current_page") if isinstance(meta, dict) else None
    return tasks, not (isinstance(last, int) and isinstance(page, int) and page < last)
