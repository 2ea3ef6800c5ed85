"""`client.view`: the same for both clients, and each of its calls works."""

from __future__ import annotations

import asyncio
import inspect
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from stopline.client.verbs import viewing
from stopline.client.views import AsyncViews, Views
from stopline.contract import Lane, OutcomeKind, RequestFilter, State
from stopline.ledger import overviews
from stopline.ledger.limits import Limits
from stopline.testing import AsyncFakeStopClient, FakeStopClient, World

if TYPE_CHECKING:
    from stopline.contract import OpenPlace


@pytest.fixture
def client() -> FakeStopClient:
    return FakeStopClient(World(Limits(counts=True, recent_max=100)))


def test_both_clients_see_the_same() -> None:
    names = {name for name in vars(Views) if not name.startswith("_")}
    assert names == {name for name in vars(AsyncViews) if not name.startswith("_")}
    for name in names:
        mine, other = getattr(Views, name), getattr(AsyncViews, name)
        assert inspect.signature(mine) == inspect.signature(other), name
        assert inspect.iscoroutinefunction(other)


def test_open_requests_lane_by_lane(client: FakeStopClient) -> None:
    client.stop("u", "late", lane=Lane.BULK)
    client.stop("u", "now", lane=Lane.EMERGENCY)
    client.stop("u", "soon")
    found: list[str] = []
    place: OpenPlace | None = None
    while True:
        page = client.view.open_page(place=place, limit=1)
        found += [one.task_id for one in page.requests]
        if page.place is None:
            break
        place = page.place
    assert found == ["now", "soon", "late"]
    bulk = client.view.open_page(RequestFilter(lane=Lane.BULK, state=State.QUEUED))
    assert [one.task_id for one in bulk.requests] == ["late"]
    assert bulk.place is None


def test_a_page_costs_so_many_calls_and_no_more(
    client: FakeStopClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overviews, "LOOK_MAX", 2)
    monkeypatch.setattr(viewing, "LOOKS_MAX", 3)
    for number in range(20):
        client.stop("u", str(number))
    page = client.view.open_page(RequestFilter(source="nobody"))
    assert page.requests == ()
    assert page.looked_at == 4, "two calls of the default lane; the first was of the empty one"
    assert page.place is not None


def test_the_last_outcomes(client: FakeStopClient) -> None:
    for name in "abc":
        client.stop("u", name, source=f"from-{name}")
        client.world.work()
    page = client.view.recent_page(limit=2)
    assert [one.task_id for one in page.outcomes] == ["c", "b"]
    client.stop("u", "d")
    client.world.work()  # what comes meanwhile moves no others
    rest = client.view.recent_page(place=page.place, limit=2)
    assert [one.task_id for one in rest.outcomes] == ["a"]
    assert client.view.recent_page(place="gone") == ((), None)
    wanted = RequestFilter(source="from-b", outcome=OutcomeKind.STOPPED)
    assert [one.task_id for one in client.view.recent_page(wanted).outcomes] == ["b"]


def test_the_rest_of_the_views(client: FakeStopClient) -> None:
    client.stop("u", "t")
    assert client.view.overview().counts.open[Lane.DEFAULT, State.QUEUED] == 1
    view = client.view.target("u", "t")
    assert view is not None
    assert view.active
    assert client.view.target("u", "unknown") is None
    assert client.view.history(datetime(2020, 1, 1, tzinfo=UTC)) == ()
    assert client.view.recount().wrong == ()
    client.stop_many([{"user_id": "u", "task_id": "b"}], batch_id="b1")
    batches, further = client.view.batches()
    assert [one.batch_id for one in batches] == ["b1"]
    assert further is None


def test_the_asyncio_client_has_them_too() -> None:
    async def look() -> None:
        client = AsyncFakeStopClient(World(Limits(counts=True, recent_max=100)))
        await client.stop("u", "t")
        assert (await client.view.overview()).counts.open_total == 1
        assert len((await client.view.open_page()).requests) == 1
        assert (await client.view.recent_page()).outcomes == ()
        assert await client.view.target("u", "t") is not None
        assert await client.view.batches() == ((), None)
        assert await client.view.history(datetime(2020, 1, 1, tzinfo=UTC)) == ()
        assert (await client.view.recount(repair=True)).wrong == ()

    asyncio.run(look())
