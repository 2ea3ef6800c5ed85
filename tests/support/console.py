"""Somebody at the console, without a browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

    from tests.support.gateway import Desk

SAME_ORIGIN = {"Origin": "http://127.0.0.1:8077"}


class Viewer:
    """Somebody at the console."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def look_again(self) -> None:
        """Have the gateway read the keys now; it does so once a second."""
        assert self.desk.services.access._keys is not None
        self.desk.services.access._keys._look_at = float("-inf")

    def log_in(self, key: str, *, to: str = "/console/") -> httpx.Response:
        self.look_again()
        return self.post("/console/login", {"key": key, "to": to}, token=None)

    def get(self, path: str) -> httpx.Response:
        return self.desk.call("GET", path)

    def token(self, path: str = "/console/requests") -> str:
        """The token of forms, as a page has it."""
        found = re.search(r'name="csrf" value="([\w-]+)"', self.get(path).text)
        assert found is not None
        return found[1]

    def post(
        self,
        path: str,
        form: dict[str, str],
        *,
        token: str | None = "",
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        given = form if token is None else {**form, "csrf": token or self.token()}
        return self.desk.call(
            "POST", path, data=given, headers=SAME_ORIGIN if headers is None else headers
        )
