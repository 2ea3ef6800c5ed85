"""The request of a call is as the API wants it, and what comes back shows no token."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from stopline.contract import Target
from stopline_worker.upstream.api_token import Credential
from stopline_worker.upstream.reply import CallErrorKind, NoReply, Reply
from stopline_worker.upstream.task_stop import TaskStopApi, path_of

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN = "t0ken-of-the-api"


class _Client:
    """Keeps what it is asked for."""

    def __init__(self, result: Reply | NoReply) -> None:
        self._result = result
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    async def get(self, url: str, headers: Mapping[str, str]) -> Reply | NoReply:
        self.asked.append((url, headers))
        return self._result

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("base", ["https://api.example", "http://127.0.0.1:8900/some/base/"])
@pytest.mark.parametrize("target", ["5832d184/f232d184", "us.er/t~1/s_2", "a/b/c"])
def test_addresses_are_as_a_parser_makes_them(base: str, target: str) -> None:
    user_id, task_id, *sub_user_id = target.split("/")
    url = f"{base.rstrip('/')}/agent-api/user/{user_id}/task_stop/{task_id}"
    params = {"sub_user_id": sub_user_id[0]} if sub_user_id else None
    expected = httpx.Request("GET", url, params=params).url
    client = _Client(Reply(200))
    asyncio.run(TaskStopApi(client, base).call(Target.parse(target), Credential(TOKEN)))
    assert client.asked[0][0] == str(expected)


def test_an_address_without_a_sub_user_has_no_parameter() -> None:
    url = f"http://127.0.0.1{path_of(Target('u', 't'))}"
    assert url == "http://127.0.0.1/agent-api/user/u/task_stop/t"


def test_the_headers_are_the_same_object_until_the_token_changes() -> None:
    client = _Client(Reply(200))
    api, credential = TaskStopApi(client, "http://127.0.0.1"), Credential(TOKEN)
    for one in (credential, credential, Credential("another-token")):
        asyncio.run(api.call(Target("u", "t"), one))
    (_, first), (_, second), (_, third) = client.asked
    assert first is second
    assert first["Authorization"] == f"Bearer {TOKEN}"
    assert third["Authorization"] == "Bearer another-token"


def test_an_error_that_shows_the_token_is_redacted_before_it_is_cut() -> None:
    message = "x" * 190 + f" {TOKEN} was refused"
    api = TaskStopApi(_Client(NoReply(CallErrorKind.PROXY, message)), "http://127.0.0.1")
    result = asyncio.run(api.call(Target("u", "t"), Credential(TOKEN)))
    assert isinstance(result, NoReply)
    assert "t0ken" not in result.message
    assert len(result.message) <= 200
