"""The `task_stop` call: a target in, `Reply` or `NoReply` out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stopline_worker.upstream.reply import NoReply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopline.contract import Target
    from stopline_worker.upstream.api_token import Credential
    from stopline_worker.upstream.http_client import HttpClient
    from stopline_worker.upstream.reply import Reply

_ERROR_CHARACTERS_MAX: Final = 200


class TaskStopApi:
    """Calls the upstream. One per event loop; `close()` it.

    Args:
        client: makes the calls.
        base_url: of the API.
    """

    def __init__(self, client: HttpClient, base_url: str) -> None:
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._headers: tuple[Credential, Mapping[str, str]] | None = None

    async def call(self, target: Target, credential: Credential) -> Reply | NoReply:
        """Make one call; the client bounds how long it takes, however the reply comes."""
        url = f"{self._base_url}{path_of(target)}"
        result = await self._client.get(url, self._headers_with(credential))
        return _without_token(result, credential) if isinstance(result, NoReply) else result

    async def get(self, path: str, credential: Credential) -> Reply | NoReply:
        """Call another address of the API's, in the same way."""
        result = await self._client.get(f"{self._base_url}{path}", self._headers_with(credential))
        return _without_token(result, credential) if isinstance(result, NoReply) else result

    def _headers_with(self, credential: Credential) -> Mapping[str, str]:
        """The same object for the same token, so that the client can keep what it makes of it."""
        if self._headers is None or self._headers[0] is not credential:
            self._headers = (
                credential,
                {
                    "Authorization": credential.authorization,
                    "Content-Type": "application/json",
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                    "User-Agent": "stopline",
                },
            )
        return self._headers[1]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _without_token(result: NoReply, credential: Credential) -> NoReply:
    shown = credential.redact(result.message)[:_ERROR_CHARACTERS_MAX]
    return NoReply(result.kind, shown)


def path_of(target: Target) -> str:
    """The address of a target's call, without the host.

    Ids hold only characters that an address may hold as they are (`contract.Identifier`), so there
    is nothing to quote.
    """
    user_id, task_id, sub_user_id = target
    path = f"/agent-api/user/{user_id}/task_stop/{task_id}"
    return path if sub_user_id is None else f"{path}?sub_user_id={sub_user_id}"
