"""The console without a browser: who gets in, what a form must be, how hostile text is shown."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest

from stopline.contract import junk_of
from stopline.ledger.limits import Limits
from stopline.testing import Answer, World
from stopline_gateway.console import sessions
from stopline_gateway.keys import Scope
from tests.support.gateway import Desk, KeyRing

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

_COUNTED = Limits(counts=True, recent_max=100)
_SAME = {"Origin": "http://127.0.0.1:8077"}
_HOSTILE = "<script>owned()</script>\"'><img src=x onerror=owned()>\x1b]0;x\x07\u202e{{7*7}}"
_PAGES = (
    "/console/",
    "/console/requests",
    "/console/requests?list=ended",
    "/console/batches",
    "/console/dead",
    "/console/workers",
    "/console/audit",
)


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
            "POST", path, data=given, headers=_SAME if headers is None else headers
        )


@pytest.fixture
def counting() -> Iterator[Desk]:
    with Desk(World(_COUNTED)) as desk:
        yield desk


@pytest.fixture
def viewer(keys: KeyRing) -> Iterator[Viewer]:
    with Desk(World(_COUNTED), keys_file=keys.path) as desk:
        yield Viewer(desk)


def _cookie(reply: httpx.Response) -> str:
    return str(reply.headers["set-cookie"])


class TestIn:
    def test_who_is_not_logged_in_is_led_to_the_login_and_back(
        self, viewer: Viewer, keys: KeyRing
    ) -> None:
        key = keys.add("ops", Scope.READ)
        reply = viewer.get("/console/requests?lane=bulk")
        place = "/console/login?to=%2Fconsole%2Frequests%3Flane%3Dbulk"
        assert (reply.status_code, reply.headers["location"]) == (303, place)
        assert "A key with the scope read" in viewer.get(place).text
        reply = viewer.log_in(key, to="/console/requests?lane=bulk")
        assert reply.headers["location"] == "/console/requests?lane=bulk"
        assert viewer.get("/console/requests").status_code == 200

    def test_the_cookie_is_the_browsers_alone(self, viewer: Viewer, keys: KeyRing) -> None:
        cookie = _cookie(viewer.log_in(keys.add("ops", Scope.READ)))
        assert cookie.startswith("stopline-console=")
        for attribute in ("HttpOnly", "SameSite=strict", "Path=/"):
            assert attribute in cookie
        assert "Secure" not in cookie, "there is no TLS here"

    def test_over_tls_no_other_host_can_set_it(self, viewer: Viewer, keys: KeyRing) -> None:
        key = keys.add("ops", Scope.READ)
        viewer.desk._http.base_url = "https://127.0.0.1:8077"
        origin = {"Origin": "https://127.0.0.1:8077"}
        viewer.look_again()
        cookie = _cookie(viewer.post("/console/login", {"key": key}, token=None, headers=origin))
        assert cookie.startswith("__Host-stopline-console=")
        assert "Secure" in cookie

    @pytest.mark.parametrize("given", ["", "slk_abc_def", "Bearer x", "\u2028"])
    def test_a_wrong_key_is_told(self, viewer: Viewer, keys: KeyRing, given: str) -> None:
        keys.add("ops", Scope.READ)
        reply = viewer.log_in(given)
        assert reply.status_code == 401
        assert "set-cookie" not in reply.headers
        assert "This key is not known here" in reply.text

    def test_a_key_that_may_neither_read_nor_operate_does_not_get_in(
        self, viewer: Viewer, keys: KeyRing
    ) -> None:
        assert viewer.log_in(keys.add("crm", Scope.STOP, Scope.BULK)).status_code == 403

    @pytest.mark.parametrize(
        "to",
        ["https://evil.example/", "//evil.example", "/console/../v1", "/\\evil", "javascript:x"],
    )
    def test_the_login_leads_nowhere_else(self, viewer: Viewer, keys: KeyRing, to: str) -> None:
        location = viewer.log_in(keys.add("ops", Scope.READ), to=to).headers["location"]
        assert location.startswith("/console/")

    def test_a_session_that_somebody_chose_is_not_used(self, viewer: Viewer, keys: KeyRing) -> None:
        """Session fixation: what the browser held before the login is worth nothing after it."""
        viewer.desk._http.cookies.set("stopline-console", "chosen", domain="127.0.0.1")
        assert "stopline-console=chosen" not in _cookie(viewer.log_in(keys.add("ops", Scope.READ)))
        viewer.desk._http.cookies.clear()
        viewer.desk._http.cookies.set("stopline-console", "chosen", domain="127.0.0.1")
        assert viewer.get("/console/").status_code == 303

    def test_a_session_ends_with_its_key_and_at_logout(self, viewer: Viewer, keys: KeyRing) -> None:
        key = keys.add("ops", Scope.READ)
        viewer.log_in(key)
        held = viewer.desk._http.cookies["stopline-console"]
        token = viewer.token("/console/")
        assert viewer.post("/console/logout", {}, token=token).status_code == 303
        viewer.desk._http.cookies.set("stopline-console", held, domain="127.0.0.1")
        assert viewer.get("/console/").status_code == 303, "the ledger has forgotten it"
        viewer.log_in(key)
        assert viewer.get("/console/").status_code == 200
        keys.revoke(key)
        viewer.look_again()
        assert viewer.get("/console/").status_code == 303

    def test_an_open_page_whose_session_is_over_is_told_so(
        self, viewer: Viewer, keys: KeyRing
    ) -> None:
        """Not led to a page: a browser would take that for an event stream, twice a second."""
        keys.add("ops", Scope.READ)
        assert viewer.get("/console/live/").status_code == 401


class TestForms:
    def test_a_reader_sees_no_buttons_and_cannot_act(self, viewer: Viewer, keys: KeyRing) -> None:
        sender = keys.add("crm")
        viewer.look_again()
        viewer.desk.call("POST", "/v1/stops", key=sender, json={"user_id": "u", "task_id": "t"})
        (found,) = viewer.desk.run(viewer.desk.services.client.view.open_page()).requests
        viewer.log_in(keys.add("ops", Scope.READ))
        page = viewer.get(f"/console/requests/{found.request_id}")
        assert "Cancel it" not in page.text
        for path, form in (
            (f"/console/requests/{found.request_id}/cancel", {}),
            ("/console/requests/cancel", {"task_id": "t"}),
            ("/console/batches/b/cancel", {}),
            ("/console/dead/redrive", {"id": "x"}),
            ("/console/dead/discard", {"id": "x"}),
        ):
            assert viewer.post(path, form).status_code == 403, path
        assert viewer.get("/console/requests/cancel?task_id=t").status_code == 403
        status = viewer.desk.run(viewer.desk.services.client.status(found.request_id))
        assert status.outcome is None

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site", **_SAME},
            {"Sec-Fetch-Site": "same-site", **_SAME},
            {"Sec-Fetch-Site": "none"},
            {},
        ],
    )
    def test_a_form_of_somebody_elses_page_is_refused(
        self, viewer: Viewer, keys: KeyRing, headers: dict[str, str]
    ) -> None:
        viewer.log_in(keys.add("ops", Scope.OPERATE))
        reply = viewer.post("/console/requests/cancel", {"task_id": "t"}, headers=headers)
        assert reply.status_code == 403
        assert (
            viewer.post("/console/login", {"key": "x"}, token=None, headers=headers).status_code
            == 403
        )

    @pytest.mark.parametrize("token", [None, "x", "\u00e9"])
    def test_a_form_of_another_session_is_refused(
        self, viewer: Viewer, keys: KeyRing, token: str | None
    ) -> None:
        viewer.log_in(keys.add("ops", Scope.OPERATE))
        reply = viewer.post("/console/requests/cancel", {"task_id": "t"}, token=token)
        assert reply.status_code == 403
        assert "another session" in reply.text

    def test_without_a_session_nothing_is_done(self, viewer: Viewer, keys: KeyRing) -> None:
        keys.add("ops", Scope.OPERATE)
        reply = viewer.post("/console/requests/cancel", {"task_id": "t"}, token="x")
        assert reply.status_code == 303

    def test_without_keys_only_pages_of_this_machine_act(self, counting: Desk) -> None:
        viewer = Viewer(counting)
        counting.stop()
        evil = {"Host": "evil.example", "Origin": "http://evil.example"}
        reply = counting.call("GET", "/console/", headers={"Host": "evil.example"})
        assert reply.status_code == 403, "DNS rebinding"
        token = viewer.token("/console/requests/cancel?user_id=u")
        reply = viewer.post("/console/requests/cancel", {"user_id": "u"}, token=token, headers=evil)
        assert reply.status_code == 403

    @pytest.mark.parametrize("form", [{}, {"user_id": ""}, {"lane": "", "state": ""}])
    def test_an_empty_filter_cancels_nothing(self, counting: Desk, form: dict[str, str]) -> None:
        counting.stop()
        viewer = Viewer(counting)
        token = viewer.token("/console/requests/cancel?user_id=u")
        reply = viewer.post("/console/requests/cancel", form, token=token)
        assert reply.status_code == 422
        assert "means all" in reply.text
        assert viewer.get("/console/requests/cancel").status_code == 422

    def test_a_filter_is_previewed_and_cancelled(self, counting: Desk) -> None:
        for number in range(5):
            counting.stop(task_id=str(number), source="crm" if number < 3 else "billing")
        viewer = Viewer(counting)
        preview = viewer.get("/console/requests/cancel?source=crm")
        assert "<strong>3</strong> open requests" in preview.text
        token = viewer.token("/console/requests/cancel?source=crm")
        reply = viewer.post("/console/requests/cancel", {"source": "crm"}, token=token)
        assert reply.headers["location"].endswith("source=crm&cancelled=3&in_flight=0")
        assert "Cancelled 3" in viewer.get(reply.headers["location"]).text
        left = counting.run(counting.services.client.view.open_page()).requests
        assert [one.source for one in left] == ["billing", "billing"]
        entries = counting.call("GET", "/console/audit").text
        assert entries.count("cancel") >= 3

    def test_dead_letters_are_sent_again_or_dropped_by_their_group(self, counting: Desk) -> None:
        for name in "abc":
            counting.stop(task_id=name)
            counting.world.answer("u", name, always=Answer.REJECTED)
        counting.world.work()
        viewer = Viewer(counting)
        page = viewer.get("/console/dead").text
        assert "3 in all" in page
        reason = re.search(r"reason=([^&]+)&amp;outcome=(\w+)", page)
        assert reason is not None
        group = viewer.get(f"/console/dead?reason={reason[1]}&outcome={reason[2]}")
        assert "Drop all of these (3)" in group.text
        form = dict(re.findall(r'name="(reason|outcome)" value="([^"]*)"', group.text))
        form = {name: value.replace("&#39;", "'") for name, value in form.items()}
        reply = viewer.post("/console/dead/discard", form, token=viewer.token("/console/dead"))
        assert reply.headers["location"] == "/console/dead?discarded=3"
        assert counting.run(counting.services.client.dead_count()) == 0


class TestShown:
    def test_no_page_obeys_what_somebody_wrote(self, counting: Desk) -> None:
        first = counting.stop(task_id="a", source=_HOSTILE[:200], reason=_HOSTILE).json()
        counting.stop(task_id="a", source=f"x{_HOSTILE[:100]}", reason=_HOSTILE)
        counting.world.answer("u", "a", always=Answer.REJECTED)
        counting.world.work()
        junk = junk_of(
            _HOSTILE.encode(), _HOSTILE, message_id="m1", origin=_HOSTILE, headers={"h": _HOSTILE}
        )
        counting.run(counting.services.client.quarantine(junk))
        viewer = Viewer(counting)
        pages = (*_PAGES, f"/console/requests/{first['request_id']}", "/console/dead/m1")
        for page in pages:
            text = viewer.get(page).text
            for hostile in ("<script>owned", "<img src=x", "\x1b", "\x07", "\u202e", ">49<"):
                assert hostile not in text, page
        assert "&lt;script&gt;owned()" in viewer.get("/console/dead/m1").text

    @pytest.mark.parametrize("page", _PAGES)
    def test_every_page_says_what_a_browser_may_do_with_it(self, counting: Desk, page: str) -> None:
        headers = counting.call("GET", page).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "same-origin"

    def test_files_may_be_kept_under_their_version(self, counting: Desk) -> None:
        text = counting.call("GET", "/console/").text
        files = set(re.findall(r'(?:href|src)="(/console/assets/[^"]+)"', text))
        assert len(files) >= 5
        for file in files:
            reply = counting.call("GET", file)
            assert reply.status_code == 200
            assert "immutable" in reply.headers["cache-control"]
        assert counting.call("GET", "/console/assets/../app.py").status_code == 404

    def test_redis_away_has_a_page_of_its_own(self, counting: Desk) -> None:
        counting.call("GET", "/console/")
        with counting.world.redis_is_away():
            reply = counting.call("GET", "/console/")
        assert reply.status_code == 503
        assert "Redis is away" in reply.text
        assert counting.call("GET", "/console/").status_code == 200

    def test_what_is_not_there(self, counting: Desk) -> None:
        for path in ("requests/nobody", "batches/none", "dead/none", "targets/u/none"):
            reply = counting.call("GET", f"/console/{path}")
            assert (reply.status_code, "text/html" in reply.headers["content-type"]) == (404, True)

    @pytest.mark.parametrize(
        ("query", "leads_to"),
        [
            ("{id}", "/console/requests/{id}"),
            ("b-1", "/console/batches/b-1"),
            ("u/a", "/console/targets/u/a"),
            ("a", "/console/requests?task_id=a"),
            ("", "/console/"),
        ],
    )
    def test_any_id_is_found(self, counting: Desk, query: str, leads_to: str) -> None:
        request_id = counting.stop(task_id="a", batch_id="b-1").json()["request_id"]
        text = query.format(id=request_id)
        reply = counting.call("GET", "/console/search", params={"q": text})
        assert reply.headers["location"] == leads_to.format(id=request_id)


def test_an_open_page_is_sent_what_changes(counting: Desk) -> None:
    async def follow() -> str:
        reply = asyncio.create_task(counting.acall("GET", "/console/live/requests"))
        await _until(lambda: counting.services.waiting._streams == 1)
        await counting.acall("POST", "/v1/stops", json={"user_id": "u", "task_id": "fresh"})
        await asyncio.sleep(1.5)
        counting.services.waiting.close()
        return (await reply).text

    text = counting.run(follow())
    assert "retry: 1000" in text
    assert '<hx-partial hx-target="#body" hx-swap="innerMorph">' in text
    assert "u/fresh" in text


async def _until(condition: Any) -> None:
    while not condition():  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0.01)


def test_many_viewers_cost_the_ledger_as_much_as_one(counting: Desk) -> None:
    async def look() -> int:
        asked = 0
        client = counting.services.client
        original = type(client)._take

        async def counted(self: Any, verb: Any) -> Any:
            nonlocal asked
            asked += 1
            return await original(self, verb)

        type(client)._take = counted  # type: ignore[method-assign]
        try:
            await asyncio.gather(*(counting.services.sight.look() for _ in range(100)))
        finally:
            type(client)._take = original  # type: ignore[method-assign]
        return asked

    assert counting.run(look()) <= 5


def test_a_session_is_kept_as_a_hash(viewer: Viewer, keys: KeyRing) -> None:
    viewer.log_in(keys.add("ops", Scope.READ))
    held = viewer.desk._http.cookies["stopline-console"]
    names = [name.decode() for name in viewer.desk.world.ledger.client.scan_iter("*note:*")]
    assert len(names) == 1
    assert held not in names[0]
    assert viewer.desk.world.ledger.client.ttl(names[0]) <= sessions.LASTS_S
