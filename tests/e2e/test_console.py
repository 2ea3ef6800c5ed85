"""The console in a browser: on real workers, by mouse and by keyboard, in both themes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

import axe_playwright_python
import pytest
from playwright.sync_api import Page, expect, sync_playwright
from sqlalchemy.engine import make_url

from stopline import Lane
from stopline.contract import Guard, GuardLimit, junk_of
from stopline_archive.archive import Archive
from stopline_gateway.keys import Scope
from tests.conftest import wait_until
from tests.outcomes.made import outcome
from tests.support.gateway import KeyRing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Route

    from tests.support.processes import Stack

_CHROMIUM: Final = shutil.which("chromium")
pytestmark = pytest.mark.skipif(_CHROMIUM is None, reason="there is no chromium here")
_AXE: Final = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text()
_RUN_AXE: Final = """
() => axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]})
  .then((found) => found.violations.map((one) => `${one.id}: ${one.nodes.map((n) => n.html)}`))
"""
_WILD: Final = "wild<b>&'\"*"
_HOSTILE: Final = (
    "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
)


_OF_WILD: Final = urlencode({"guard": _WILD})


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=_CHROMIUM, args=["--no-sandbox"], timeout=60_000
        )
        yield browser
        browser.close()


class Watched:
    """A page, and what the browser complains of."""

    def __init__(self, page: Page, host: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: self._asked(request.url, host))
        page.add_init_script(
            "document.addEventListener('securitypolicyviolation', (event) => "
            "console.error('CSP: ' + event.violatedDirective + ' ' + event.blockedURI))"
        )

    def _said(self, message: Any) -> None:
        if message.type in {"error", "warning"} and "status of 4" not in message.text:
            self.complaints.append(message.text)

    def _asked(self, url: str, host: str) -> None:
        if urlsplit(url).netloc != host and not url.startswith("data:"):
            self.complaints.append(f"request to {url}")


@pytest.fixture
def look(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """Opens pages of a gateway; in the end nothing was complained of."""
    opened: list[Watched] = []
    contexts = []

    def open_page(url: str, *, scheme: str = "light", width: int = 1280) -> Watched:
        context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=scheme,  # type: ignore[arg-type]
        )
        contexts.append(context)
        watched = Watched(context.new_page(), urlsplit(url).netloc)
        opened.append(watched)
        watched.page.goto(url)
        return watched

    yield open_page
    for context in contexts:
        context.close()
    for watched in opened:
        assert watched.complaints == []


def _archive(stack: Stack) -> None:
    """One of everything hostile, where the gateway looks."""
    place = stack.directory / "archive.db"
    stack.variables["STOPLINE_ARCHIVE_URL"] = f"sqlite:///{place}"
    archive = Archive(make_url(f"sqlite:///{place}"))
    archive.prepare()
    hostile = {"source": _HOSTILE[:150], "reason": _HOSTILE, "detail": _HOSTILE}
    archive.put([outcome(n, **hostile) for n in range(60)])
    archive.close()


def _some_of_everything(stack: Stack) -> str:
    """Requests in every state, dead letters, a batch, junk; the id of one that waits.

    Its source and reason, what the API says of the failed ones, and the junk are hostile.
    """
    said = {"status": "error", "code": 400, "message": _HOSTILE}
    stack.api.start(
        [
            {"task_id": "bad*", "replies": [{"http_status": 400, "body": said}] * 5},
            {"task_id": "slow*", "replies": [{"http_status": 503}] * 100},
        ]
    )
    stack.settings |= {"backoff_base_s": 30, "backoff_cap_s": 60}
    stack.worker()
    client = stack.client
    wishes = [{"user_id": "u", "task_id": f"t{number}"} for number in range(20)]
    wishes += [{"user_id": "u", "task_id": f"bad{number}"} for number in range(3)]
    client.stop_many(wishes, batch_id="nightly")
    _archive(stack)
    waiting = client.stop("u", "slow", source=_HOSTILE[:150], reason=_HOSTILE)
    client.stop("u", "slow", source="joins", reason="too")
    limit = GuardLimit(requests=1, window_s=60)
    client.guards.apply([Guard(source=_WILD, limit=limit), Guard(source="calm*", dry_run=True)])
    for number in range(3):
        client.stop("u", f"wild{number}", source=_WILD, reason=_HOSTILE)
    client.gate.pause_lane(Lane.BULK, 600, reason=_HOSTILE, by="ops")
    client.quarantine(junk_of(_HOSTILE.encode(), _HOSTILE, message_id="junk", origin=_HOSTILE))
    wait_until(lambda: client.batch("nightly").pending == 0, what="the batch")
    wait_until(lambda: client.status(waiting.request_id).attempts, what="an attempt")
    return waiting.request_id


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_usable_by_all(
    stack: Stack, look: Callable[..., Watched], scheme: str
) -> None:
    request_id = _some_of_everything(stack)
    gateway = stack.gateway()
    pages = [
        *("", "requests", "requests?list=ended", f"requests/{request_id}", "requests/none"),
        *("batches", "batches/nightly", "dead", "dead/junk", "workers", "audit"),
        *("guards", f"guards?{_OF_WILD}", f"guards/act?act=release&{_OF_WILD}"),
        *("targets/u/t1", "requests/cancel?user_id=u", "dead/act?act=discard&id=junk"),
        *("history", "history?task_id=t1&outcome=stopped"),
    ]
    watched = look(f"{gateway.url}/console/", scheme=scheme)
    page = watched.page
    for path in pages:
        page.goto(f"{gateway.url}/console/{path}")
        page.evaluate(_AXE)
        assert page.evaluate(_RUN_AXE) == [], path
        assert page.title() != "owned"
        expect(page.locator("h1")).to_be_visible()
    narrow = look(f"{gateway.url}/console/", scheme=scheme, width=360).page
    for path in pages:
        narrow.goto(f"{gateway.url}/console/{path}")
        assert narrow.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_the_login_is_usable_and_leads_back(stack: Stack, look: Callable[..., Watched]) -> None:
    keys = KeyRing(stack.directory / "keys")
    key = keys.add("ops", Scope.READ)
    gateway = stack.gateway(variables={"STOPLINE_GATEWAY_KEYS_FILE": str(keys.path)})
    page = look(f"{gateway.url}/console/workers").page
    page.evaluate(_AXE)
    assert page.evaluate(_RUN_AXE) == []
    page.get_by_label("A key with the scope read").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not known here")
    page.get_by_label("A key with the scope read").fill(key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Workers")).to_be_visible()
    keys.revoke(key)
    # An open page learns of it by itself, and leads to the login.
    expect(page.get_by_label("A key with the scope read")).to_be_visible(timeout=30_000)


def test_what_changes_is_shown_as_it_does(stack: Stack, look: Callable[..., Watched]) -> None:
    stack.api.start()
    gateway = stack.gateway()
    overview = look(f"{gateway.url}/console/").page
    expect(overview.locator("#open")).to_have_text("0")
    requests = look(f"{gateway.url}/console/requests").page
    receipt = stack.client.stop("u", "fresh")
    expect(overview.locator("#open")).to_have_text("1", timeout=10_000)
    expect(requests.get_by_role("link", name=receipt.request_id)).to_be_visible(timeout=10_000)
    life = look(f"{gateway.url}/console/requests/{receipt.request_id}").page
    expect(life.locator("#body")).to_contain_text("waits for a worker")
    stack.worker()
    expect(life.locator("#body")).to_contain_text("The API confirmed the stop.", timeout=30_000)
    expect(overview.locator("#open")).to_have_text("0", timeout=10_000)


def test_a_filter_is_cancelled_in_two_clicks(stack: Stack, look: Callable[..., Watched]) -> None:
    stack.api.start([{"task_id": "*", "replies": [{"http_status": 503}] * 100}])
    stack.settings |= {"backoff_base_s": 30, "backoff_cap_s": 60}
    stack.worker()
    ids = [
        stack.client.stop("u", str(number), source="wild" if number < 8 else "good").request_id
        for number in range(10)
    ]
    wait_until(lambda: all(stack.client.status(one).attempts for one in ids), what="attempts")
    gateway = stack.gateway()
    page = look(f"{gateway.url}/console/requests").page
    page.get_by_label("Source").fill("wild")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tbody tr")).to_have_count(8)
    page.get_by_role("link", name="Cancel all that this filter means").click()
    expect(page.locator("#body")).to_contain_text("cancels 8 open requests")
    page.get_by_role("button", name="Cancel 8").click()
    expect(page.get_by_role("status").first).to_contain_text("Cancelled 8")
    assert [stack.client.status(one).outcome for one in ids] == ["cancelled"] * 8 + [None] * 2


def test_dead_letters_are_sent_again_from_their_page(
    stack: Stack, look: Callable[..., Watched]
) -> None:
    stack.api.start([{"task_id": "bad", "replies": [{"http_status": 400}]}])
    stack.worker()
    failed = stack.client.wait(stack.client.stop("u", "bad").request_id, 60)
    gateway = stack.gateway()
    page = look(f"{gateway.url}/console/requests/{failed.request_id}").page
    expect(page.locator("#body")).to_contain_text("another call would be rejected as well")
    page.get_by_role("link", name="Send it again").click()
    page.get_by_role("button", name="Send again 1").click()
    expect(page.get_by_role("status").first).to_contain_text("Sent again: 1")
    wait_until(lambda: stack.client.dead_count() == 0, what="no dead letter")


def test_everything_by_keyboard(stack: Stack, look: Callable[..., Watched]) -> None:
    receipt = stack.client.stop("u", "t", lane=Lane.BULK)
    gateway = stack.gateway()
    page = look(f"{gateway.url}/console/").page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(page.get_by_role("heading", name="Requests")).to_be_visible()
    page.keyboard.press("j")
    expect(page.get_by_role("link", name=receipt.request_id)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=receipt.request_id)).to_be_visible()
    cancel = page.get_by_role("button", name="Cancel it")
    for _ in range(60):
        if cancel.evaluate("(one) => one === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_contain_text("It is cancelled")
    page.keyboard.press("/")
    page.keyboard.type("u/t")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Target")).to_be_visible()


def test_a_gateway_that_goes_away_is_told_and_comes_back(
    stack: Stack, look: Callable[..., Watched]
) -> None:
    gateway = stack.gateway()
    watched = look(f"{gateway.url}/console/")
    page = watched.page
    expect(page.locator("#open")).to_have_text("0")
    gateway.kill()
    expect(page.locator("#banner")).to_contain_text("Not up to date", timeout=30_000)
    gateway.start()
    stack.client.stop("u", "t")
    expect(page.locator("#open")).to_have_text("1", timeout=60_000)
    expect(page.locator("#banner")).to_be_hidden()
    watched.complaints.clear()  # the browser says that nobody answered


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda route: route.abort("connectionrefused"), "does not answer"),
        (lambda route: route.fulfill(status=503), "answers 503"),
        (lambda route: route.fulfill(status=401), "answers 401"),
    ],
    ids=["away", "busy", "session over"],
)
def test_a_page_whose_stream_does_not_begin_is_told_and_tries_again(
    stack: Stack, look: Callable[..., Watched], answer: Callable[[Route], None], told: str
) -> None:
    watched = look(f"{stack.gateway().url}/console/")
    page = watched.page
    page.route("**/console/live/**", answer)
    page.reload()
    expect(page.locator("#banner")).to_contain_text(told, timeout=30_000)
    page.unroute_all()
    stack.client.stop("u", "t")
    expect(page.locator("#open")).to_have_text("1", timeout=60_000)
    expect(page.locator("#banner")).to_be_hidden()
    watched.complaints.clear()  # the browser says that nobody answered


def test_a_page_that_nobody_sees_is_sent_nothing(
    stack: Stack, look: Callable[..., Watched]
) -> None:
    """A tab behind others costs nothing; when it is looked at, it is up to date."""
    url = f"{stack.gateway().url}/console/"
    behind, before = look(url).page, look(url).page
    for page in (behind, before):
        expect(page.locator("#open")).to_have_text("0")
    stack.client.stop("u", "1")
    for page in (behind, before):  # both are connected
        expect(page.locator("#open")).to_have_text("1", timeout=10_000)
    _hide(behind, hidden=True)
    for name in "23":  # what comes later than a look that was under way
        stack.client.stop("u", name)
        expect(before.locator("#open")).to_have_text(name, timeout=10_000)
    expect(behind.locator("#open")).to_have_text("1")
    _hide(behind, hidden=False)
    expect(behind.locator("#open")).to_have_text("3", timeout=10_000)
    expect(behind.locator("#banner")).to_be_hidden()


def _hide(page: Page, *, hidden: bool) -> None:
    page.evaluate(
        """(hidden) => {
          Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )
