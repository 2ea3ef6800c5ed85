"""The console without a browser: who gets in, what a form must be, how hostile text is shown."""

from __future__ import annotations

import asyncio
import html
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from stopline.contract import RequestFilter, junk_of
from stopline.errors import UnavailableError
from stopline.ledger.limits import Limits
from stopline.testing import Answer, World
from stopline_gateway.console import choosing, live
from stopline_gateway.keys import Scope
from tests.support.console import SAME_ORIGIN, Viewer
from tests.support.gateway import Desk, KeyRing

if TYPE_CHECKING:
    from collections.abc import Iterator

_COUNTED = Limits(counts=True, recent_max=100)
_HOSTILE = "<script>owned()</script>\"'><img src=x onerror=owned()>\x1b]0;x\x07\u202e{{7*7}}"
_CHOSEN = choosing.written(RequestFilter(task_id="t"))
_PAGES = (
    "/console/",
    "/console/requests",
    "/console/requests?list=ended",
    "/console/batches",
    "/console/dead",
    "/console/workers",
    "/console/audit",
    "/console/history",
)


@pytest.fixture
def counting() -> Iterator[Desk]:
    with Desk(World(_COUNTED)) as desk:
        yield desk


@pytest.fixture
def viewer(keys: KeyRing) -> Iterator[Viewer]:
    with Desk(World(_COUNTED), keys_file=keys.path) as desk:
        yield Viewer(desk)


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
            ("/console/requests/cancel", {"chosen": _CHOSEN}),
            ("/console/batches/b/cancel", {}),
            ("/console/lanes/pause", {"lane": "bulk", "minutes": "1", "reason": "r"}),
            ("/console/lanes/resume", {"lane": "bulk"}),
            ("/console/dead/act", {"chosen": _CHOSEN, "act": "discard"}),
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
            {"Sec-Fetch-Site": "cross-site", **SAME_ORIGIN},
            {"Sec-Fetch-Site": "same-site", **SAME_ORIGIN},
            {"Sec-Fetch-Site": "none"},
            {},
        ],
    )
    def test_a_form_of_somebody_elses_page_is_refused(
        self, viewer: Viewer, keys: KeyRing, headers: dict[str, str]
    ) -> None:
        viewer.log_in(keys.add("ops", Scope.OPERATE))
        reply = viewer.post("/console/requests/cancel", {"chosen": _CHOSEN}, headers=headers)
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
        reply = viewer.post("/console/requests/cancel", {"chosen": _CHOSEN}, token=token)
        assert reply.status_code == 403
        assert "another session" in reply.text

    def test_without_a_session_nothing_is_done(self, viewer: Viewer, keys: KeyRing) -> None:
        keys.add("ops", Scope.OPERATE)
        reply = viewer.post("/console/requests/cancel", {"chosen": _CHOSEN}, token="x")
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

    @pytest.mark.parametrize(
        "chosen", ["", "x", choosing.written(RequestFilter()), choosing.written(choosing.Letters())]
    )
    def test_an_empty_filter_cancels_nothing(self, counting: Desk, chosen: str) -> None:
        counting.stop()
        viewer = Viewer(counting)
        token = viewer.token("/console/requests/cancel?user_id=u")
        reply = viewer.post("/console/requests/cancel", {"chosen": chosen}, token=token)
        assert reply.status_code == 422
        reply = viewer.post("/console/dead/act", {"chosen": chosen, "act": "discard"}, token=token)
        assert reply.status_code == 422
        assert viewer.get("/console/requests/cancel").status_code == 422
        assert viewer.get("/console/dead/act?act=discard").status_code == 422
        assert len(counting.run(counting.services.client.view.open_page()).requests) == 1

    @pytest.mark.parametrize("source", ["crm", "c\u00a0rm", "c\\xa0rm", 'a b&c=d"<', "x\u202e"])
    def test_what_is_previewed_is_what_is_cancelled(self, counting: Desk, source: str) -> None:
        for number in range(5):
            named = source if number < 3 else ("c\\xa0rm" if source != "c\\xa0rm" else "other")
            counting.stop(task_id=str(number), source=named)
        viewer = Viewer(counting)
        place = f"/console/requests/cancel?{urlencode({'source': source})}"
        preview = viewer.get(place)
        assert "<strong>3</strong> open requests" in preview.text
        chosen = re.search(r'name="chosen" value="([^"]+)"', preview.text)
        assert chosen is not None
        form = {"chosen": chosen[1]}
        reply = viewer.post("/console/requests/cancel", form, token=viewer.token(place))
        assert "cancelled=3&in_flight=0" in reply.headers["location"]
        assert "Cancelled 3" in viewer.get(reply.headers["location"]).text
        left = counting.run(counting.services.client.view.open_page()).requests
        assert {one.task_id for one in left} == {"3", "4"}
        assert counting.call("GET", "/console/audit").text.count(">cancel<") == 1

    def test_a_group_of_dead_letters_is_shown_and_then_dropped(self, counting: Desk) -> None:
        """Of the filter that it was found with, and none that died since."""
        for user, name in (("a", "1"), ("a", "2"), ("b", "3")):
            counting.world.answer(user, name, always=Answer.REJECTED)
            counting.stop(user_id=user, task_id=name)
        counting.world.work()
        viewer = Viewer(counting)
        page = viewer.get("/console/dead?user_id=a").text
        group = html.unescape(re.findall(r'href="(/console/dead\?[^"]*reason=[^"]*)"', page)[0])
        assert "user_id=a" in group
        listed = viewer.get(group).text
        assert "Drop these 2…" in listed
        place = html.unescape(
            re.findall(r'href="(/console/dead/act\?[^"]*discard[^"]*)"', listed)[0]
        )
        preview = viewer.get(place).text
        assert "This drops <strong>2</strong>" in preview
        counting.world.answer("a", "4", always=Answer.REJECTED)
        counting.world.advance(1)
        counting.stop(user_id="a", task_id="4")
        counting.world.work()
        chosen = re.search(r'name="chosen" value="([^"]+)"', preview)
        assert chosen is not None
        form = {"chosen": chosen[1], "act": "discard"}
        reply = viewer.post("/console/dead/act", form, token=viewer.token(place))
        assert reply.headers["location"] == "/console/dead?discarded=2"
        left = [one.task_id for one in _dead(counting)]
        assert sorted(left) == ["3", "4"]

    def test_a_message_with_an_odd_reason_is_dropped_by_its_group(self, counting: Desk) -> None:
        for number, reason in enumerate(("line\nbreak", "a\u00a0b", "a\\xa0b")):
            junk = junk_of(b"x", reason, message_id=f"m{number}", origin="s")
            counting.run(counting.services.client.quarantine(junk))
        viewer = Viewer(counting)
        for reason in ("line\nbreak", "a\u00a0b"):
            query = urlencode({"act": "discard", "outcome": "message", "reason": reason})
            preview = viewer.get(f"/console/dead/act?{query}").text
            chosen = re.search(r'name="chosen" value="([^"]+)"', preview)
            assert chosen is not None
            form = {"chosen": chosen[1], "act": "discard"}
            token = _token_in(preview)
            reply = viewer.post("/console/dead/act", form, token=token)
            assert reply.headers["location"] == "/console/dead?discarded=1"
        assert counting.run(counting.services.client.dead_count()) == 1


def _token_in(page: str) -> str:
    found = re.search(r'name="csrf" value="([\w-]+)"', page)
    assert found is not None
    return found[1]


def _dead(desk: Desk) -> list[Any]:
    async def read() -> list[Any]:
        return [one async for one in desk.services.client.dead_letters()]

    return desk.run(read())


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
            ("", "/console/"),
        ],
    )
    def test_any_id_is_found(self, counting: Desk, query: str, leads_to: str) -> None:
        request_id = counting.stop(task_id="a", batch_id="b-1").json()["request_id"]
        text = query.format(id=request_id)
        reply = counting.call("GET", "/console/search", params={"q": text})
        assert reply.headers["location"] == leads_to.format(id=request_id)


def test_what_nothing_has_as_its_id_may_be_the_name_of_something_else(counting: Desk) -> None:
    for text in ("a", "user-14/", _HOSTILE):
        reply = counting.call("GET", "/console/search", params={"q": text})
        assert reply.status_code == 404
        assert "Open requests of a task" in reply.text
        assert "<script>owned" not in reply.text
    for path in ("nowhere", "targets/x", "dead/a/b"):
        reply = counting.call("GET", f"/console/{path}")
        assert (reply.status_code, "text/html" in reply.headers["content-type"]) == (404, True)


def _looks(desk: Desk) -> list[str]:
    """What comes of each look at the ledger from here on; a page's stream looks twice a second."""
    looks: list[str] = []
    look = desk.services.sight.look

    async def told() -> Any:
        try:
            seen = await look()
        except UnavailableError:
            looks.append("away")
            raise
        looks.append("seen")
        return seen

    desk.services.sight.look = told  # type: ignore[method-assign]
    return looks


async def _more(looks: list[str], number: int) -> None:
    wanted = len(looks) + number
    await _until(lambda: len(looks) >= wanted)


def test_an_open_page_is_sent_what_changes(counting: Desk) -> None:
    looks = _looks(counting)

    async def follow() -> str:
        reply = asyncio.create_task(counting.acall("GET", "/console/live/requests"))
        await _more(looks, 1)
        await counting.acall("POST", "/v1/stops", json={"user_id": "u", "task_id": "fresh"})
        await _more(looks, 3)  # the third one comes when what the second one saw was sent
        counting.services.waiting.close()
        return (await reply).text

    text = counting.run(follow())
    assert "retry: 1000" in text
    assert '<hx-partial hx-target="#body" hx-swap="innerMorph">' in text
    assert "u/fresh" in text


def test_redis_away_is_told_in_open_pages_and_what_comes_back_is_shown(counting: Desk) -> None:
    looks = _looks(counting)

    async def follow() -> str:
        calling = asyncio.create_task(counting.acall("GET", "/console/live/workers"))
        await _more(looks, 3)  # one of the stream, one of the page; then the page was sent
        with counting.world.redis_is_away():
            await _until(lambda: "away" in looks)
        await _more(looks, 3)
        counting.services.waiting.close()
        return (await calling).text

    parts = [one for one in counting.run(follow()).split("\n\n") if one]
    kinds = ["away" if "event: away" in one else "body" for one in parts if "retry:" not in one]
    assert kinds[0] == kinds[-1] == "body"
    assert "away" in kinds


async def _until(condition: Any) -> None:
    async with asyncio.timeout(30):
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


def test_a_lane_is_paused_and_goes_on_again(viewer: Viewer, keys: KeyRing) -> None:
    viewer.log_in(keys.add("ops", Scope.READ, Scope.OPERATE))
    form = {"lane": "bulk", "minutes": "30", "reason": _HOSTILE[:200]}
    token = viewer.token("/console/workers")
    assert viewer.post("/console/lanes/pause", form, token=token).status_code == 303
    client = viewer.desk.services.client
    (pause,) = viewer.desk.run(client.gate.look()).pauses
    assert (pause.lane, pause.by) == ("bulk", "ops")
    for wrong in ({"minutes": "0"}, {"minutes": "1e3"}, {"lane": "x"}, {"reason": ""}):
        reply = viewer.post("/console/lanes/pause", {**form, **wrong}, token=token)
        assert reply.status_code == 422, wrong
    page = viewer.get("/console/workers").text
    assert "owned()" in page
    assert "<script>owned" not in page
    assert viewer.post("/console/lanes/resume", {"lane": "bulk"}, token=token).status_code == 303
    assert viewer.desk.run(client.gate.look()).pauses == ()


def test_a_page_that_took_long_once_is_soon_made_again() -> None:
    """A browser takes fifteen seconds of silence for a gateway that is gone."""
    watch = live._Watch()
    for took_s, pause_s in ((0.0, 0.5), (0.1, 2.0), (3.0, 5.0)):
        watch.took(took_s)
        assert watch.pause_s == pytest.approx(pause_s)
