"""Who gets into the console, for how long, and what a browser holds of it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import pytest

from stopline.ledger.limits import Limits
from stopline.testing import World
from stopline_gateway.console import sessions
from stopline_gateway.keys import Scope
from tests.support.console import Viewer
from tests.support.gateway import Desk, KeyRing

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

_COUNTED = Limits(counts=True, recent_max=100)


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
        assert location == "/console/" or (
            location == to and urlsplit(urljoin("http://here/", to)).netloc == "here"
        )

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


def test_a_session_is_kept_as_a_hash(viewer: Viewer, keys: KeyRing) -> None:
    viewer.log_in(keys.add("ops", Scope.READ))
    held = viewer.desk._http.cookies["stopline-console"]
    names = [name.decode() for name in viewer.desk.world.ledger.client.scan_iter("*value:session*")]
    assert len(names) == 1
    assert held not in names[0]
    assert viewer.desk.world.ledger.client.ttl(names[0]) <= sessions.LASTS_S


def test_another_key_under_the_same_id_ends_the_sessions_of_the_first(
    viewer: Viewer, keys: KeyRing
) -> None:
    key, other = keys.add("ops", Scope.READ), keys.add("ops", Scope.READ)
    viewer.log_in(key)
    assert viewer.get("/console/").status_code == 200
    lines = keys.path.read_text().splitlines()
    mine, theirs = (
        next(one for one in lines if f'"{k.split("_")[1]}"' in one) for k in (key, other)
    )
    renamed = theirs.replace(other.split("_")[1], key.split("_")[1])
    keys.path.write_text(renamed + "\n")
    assert mine not in keys.path.read_text()
    viewer.look_again()
    assert viewer.get("/console/").status_code == 303


def test_a_login_ends_the_session_of_before(viewer: Viewer, keys: KeyRing) -> None:
    key = keys.add("ops", Scope.READ)
    viewer.log_in(key)
    viewer.log_in(key)
    names = list(viewer.desk.world.ledger.client.scan_iter("*value:session*"))
    assert len(names) == 1


def test_looking_has_the_rate_of_the_key(keys: KeyRing) -> None:
    key = keys.add("ops", Scope.READ, rate="1/m,burst=3")
    with Desk(World(_COUNTED), keys_file=keys.path) as desk:
        viewer = Viewer(desk)
        viewer.log_in(key)
        found = [viewer.get("/console/dead").status_code for _ in range(4)]
    assert found == [200, 200, 429, 429]


def test_without_keys_looking_leaves_nothing_behind(keys: KeyRing) -> None:
    assert keys
    with Desk(World(_COUNTED)) as desk:
        for path in ("/console/", "/console/requests/none", "/console/search?q="):
            for _ in range(3):
                desk._http.cookies.clear()
                assert "set-cookie" not in desk.call("GET", path).headers
        assert len(list(desk.world.ledger.client.scan_iter("*value:*"))) == 1
