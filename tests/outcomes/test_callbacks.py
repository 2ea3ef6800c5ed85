"""Callbacks: signed, told at least once, to nobody else; what cannot be told is listed."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from standardwebhooks import Webhook

from stopline import AsyncStopClient, Settings, StopClient
from stopline.contract import Join, Lane, StopRequest
from stopline.errors import InvalidRequestError, InvalidSettingsError
from stopline_outcomes.callback_file import read
from stopline_outcomes.sending import Sending
from stopline_outcomes.settings import CallbackSettings
from stopline_outcomes.signing import Secret, headers
from stopline_outcomes.sink import Sink
from stopline_outcomes.telling import Telling, callbacks_of
from tests.outcomes.made import START, outcome
from tests.outcomes.receiver import OK, OTHER, SECRET, Receiver, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

QUICK = {"timeout_s": 1, "backoff_base_s": 0.05, "backoff_cap_s": 0.1, "give_up_s": 30}


def _file(path: Path, text: str) -> Path:
    file = path / "callbacks.yaml"
    file.write_text(text)
    return file


def _to(path: Path, *urls: str) -> Path:
    """A file that has everything of the sources s0, s1 … told to URLs on loopback."""
    entries = "".join(f"  - {{source: s{n}, url: '{url}'}}\n" for n, url in enumerate(urls))
    return _file(path, f"secrets: ['{SECRET}']\nallow: [127.0.0.0/8]\nsources:\n{entries}")


@asynccontextmanager
async def _told(
    redis_url: str, file: Path, **settings: Any
) -> AsyncIterator[tuple[AsyncStopClient, Sending]]:
    """A process that makes callbacks and sends them."""
    given = CallbackSettings.load(file=file, **(QUICK | settings))
    found = read(file)
    async with AsyncStopClient(Settings.load(redis_url=redis_url)) as client:
        sink = Sink(client.sinks, Telling(client.callbacks, found), "reader", 1_000_000)
        sending = Sending(client.callbacks, found, given)
        await client.sinks.open("callbacks", 1_000_000)
        tasks = [asyncio.create_task(sink.run()), asyncio.create_task(sending.run())]
        try:
            yield client, sending
        finally:
            for one in (sink, sending):
                one.end()
            await asyncio.wait_for(asyncio.gather(*tasks), 30)


async def _until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not done():  # noqa: ASYNC110  # what is looked at tells nobody
            await asyncio.sleep(0.01)


async def _until_no_more_wait(client: AsyncStopClient, dead: int = 0) -> None:
    async with asyncio.timeout(30):
        while True:
            found = await client.callbacks.count()
            if not found.waiting and found.dead == dead:
                return
            await asyncio.sleep(0.02)


async def _end_some(client: AsyncStopClient, count: int, source: str = "s0", **fields: Any) -> None:
    requests = [
        StopRequest(user_id="u", task_id=f"{source}-{n}", source=source, lane=Lane.BULK, **fields)
        for n in range(count)
    ]
    done = await client.stop_many(requests)
    await client.cancel_batch(done.batch_id)


class TestWhatIsTold:
    """Which URLs get what."""

    def _of(self, tmp_path: Path, text: str, **fields: Any) -> dict[str, dict[str, Any]]:
        file = read(_file(tmp_path, f"secrets: ['{SECRET}']\n{text}"))
        found = callbacks_of(outcome(1, **fields), file)
        return {one.url: {**orjson.loads(one.body), "id": one.callback_id} for one in found}

    def test_the_url_of_a_request_and_that_of_its_source(self, tmp_path: Path) -> None:
        text = "allow: [a.org]\nsources: [{source: 'cr*', url: 'https://b.org/x'}]\n"
        found = self._of(tmp_path, text, callback_url="https://a.org/1", reason="budget")
        assert set(found) == {"https://a.org/1", "https://b.org/x"}
        body = found["https://b.org/x"]
        assert (body["type"], body["timestamp"]) == ("stop.outcome", "2026-11-01T00:00:01.000Z")
        assert (body["data"]["outcome"], body["data"]["reason"]) == ("stopped", "budget")
        assert len({one["id"] for one in found.values()}) == 2

    def test_who_joined_is_told_and_not_what_the_first_sender_said(self, tmp_path: Path) -> None:
        joined = (Join(source="other", callback_url="https://a.org/2", at=START),)
        found = self._of(tmp_path, "allow: [a.org]\n", joined=joined, reason="secret reason")
        (body,) = found.values()
        assert body["data"]["source"] == "other"
        assert "secret" not in str(body)
        assert "joined" not in body["data"]

    def test_of_the_first_sender_a_joiner_learns_nothing(self, tmp_path: Path) -> None:
        joined = (Join(source="other", callback_url="https://a.org/2", at=START),)
        secret = {"batch_id": "their-batch", "held_by": "their-guard", "redrive_of": "their-letter"}
        secret |= {"idempotency_key": "their-key", "source": "their-source"}
        found = self._of(tmp_path, "allow: [a.org]\n", joined=joined, **secret)
        assert "their" not in str(found)

    def test_a_url_that_two_sources_share_is_told_for_each(self, tmp_path: Path) -> None:
        joined = (Join(source="other", callback_url="https://a.org/", at=START),)
        file = read(_file(tmp_path, f"secrets: ['{SECRET}']\nallow: [a.org]\n"))
        ended = outcome(1, joined=joined, callback_url="https://a.org/")
        found = list(callbacks_of(ended, file))
        assert [one.source for one in found] == ["crm", "other"]
        assert len({one.callback_id for one in found}) == 2

    def test_a_joined_callback_url_is_kept_in_the_ledger(self, redis_url: str) -> None:
        with StopClient(Settings.load(redis_url=redis_url)) as client:
            first = client.stop("u", "t", source="a")
            client.stop("u", "t", source="b", callback_url="https://a.org/2")
            client.cancel(first.request_id)
            ended = client.wait(first.request_id, 10)
        assert [one.callback_url for one in ended.joined] == ["https://a.org/2"]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.org/",
        "https:///x",
        "a.org",
        "https://u:p@a.org/",
        "https://a.org/#x",
        "https://a.org:0/",
        "https://a.org:99999/",
        "https://a.org/a b",
        'https://a.org/"',
        "https://a.org/\\",
        "https://ä.org/",
        "https://[::1/",
        "https://a.org/" + "x" * 500,
        "https://a.org/\n",
    ],
)
def test_what_is_no_callback_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="callback_url"):
        StopRequest.parse({"user_id": "u", "task_id": "t", "callback_url": url})


class TestSignatures:
    """As the specification's own package has them."""

    def test_each_of_two_secrets_verifies_during_a_rotation(self) -> None:
        body = b'{"type":"stop.outcome"}'
        secrets = (Secret(SECRET), Secret(OTHER))
        signed = dict(headers(secrets, "id.1", int(time.time()), body))
        for secret in (SECRET, OTHER):
            assert Webhook(secret).verify(body, signed) == {"type": "stop.outcome"}

    @pytest.mark.parametrize("text", ["", "whsec_", "whsec_AAAA", SECRET[6:], "whsec_!!!!" * 10])
    def test_what_is_no_secret(self, text: str) -> None:
        with pytest.raises(ValueError, match="whsec_"):
            Secret(text)

    def test_a_secret_is_in_no_text(self) -> None:
        assert SECRET not in f"{Secret(SECRET)!r}{Secret(SECRET)}"


class TestFile:
    """`STOPLINE_CALLBACKS_FILE`."""

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("", "request"),
            ("secrets: []", "secrets"),
            (f"secrets: ['{SECRET}', '{OTHER}', '{SECRET}']", "secrets"),
            ("secrets: [whsec_short]", "secrets.0"),
            (f"secrets: ['{SECRET}']\nallow: ['http://a']", "allow"),
            (f"secrets: ['{SECRET}']\nallows: []", "allows"),
            (f"secrets: ['{SECRET}']\nsources: [{{source: a, url: 'x'}}]", "sources.0.url"),
            (f"secrets: ['{SECRET}']\nsources: [{{source: a}}, {{source: a}}]", "there twice"),
            ("secrets: [", "line"),
        ],
    )
    def test_what_is_wrong_is_named_and_no_secret_repeated(
        self, tmp_path: Path, text: str, told: str
    ) -> None:
        with pytest.raises(InvalidSettingsError, match="STOPLINE_CALLBACKS_FILE") as caught:
            read(_file(tmp_path, text))
        assert told in str(caught.value)
        assert SECRET[6:] not in str(caught.value)

    def test_the_longest_beginning_of_a_source_decides(self, tmp_path: Path) -> None:
        text = (
            f"secrets: ['{SECRET}']\nsources:\n"
            "  - {source: 'policy:*', url: 'https://a.org/1'}\n"
            "  - {source: 'policy:over*', url: 'https://a.org/2'}\n"
            "  - {source: 'policy:over-budget', url: 'https://a.org/3'}\n"
        )
        file = read(_file(tmp_path, text))
        found = [file.of(one).url for one in ("policy:x", "policy:over", "policy:over-budget", "p")]
        assert found == ["https://a.org/1", "https://a.org/2", "https://a.org/3", None]


def _scene(run: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(run())  # type: ignore[arg-type]  # each is a coroutine function


def test_each_outcome_is_told_once_where_all_is_well(redis_url: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with (
            Receiver().serving() as receiver,
            _told(redis_url, _to(tmp_path, receiver.url)) as (client, _),
        ):
            await _end_some(client, 300)
            await _until(lambda: len(receiver.delivered) == 300)
            await _until_no_more_wait(client)
        assert set(receiver.came.values()) == {1}
        assert receiver.heads[0]["user-agent"].startswith("stopline/")
        assert "authorization" not in receiver.heads[0]

    _scene(run)


def test_who_fails_hangs_redirects_or_dies_is_told_again(redis_url: str, tmp_path: Path) -> None:
    """The redirect leads to a trap, where nobody comes; the dead one is back on its port."""

    async def run() -> None:
        trap = Receiver()
        async with trap.serving():
            moved = status(302, f"Location: {trap.url}")
            answers: list[bytes | None] = [status(500), None, moved, b"", status(429)]
            bad = Receiver(lambda _, before: [*answers, OK][min(before, len(answers))])
            dying = Receiver()
            async with bad.serving(), _told(redis_url, _to(tmp_path, bad.url)) as (client, _):
                await _end_some(client, 30)
                await _until(lambda: len(bad.delivered) == 30)
                await _until_no_more_wait(client)
            assert trap.connections == 0
            assert set(bad.came.values()) == {6}
            async with dying.serving():
                port = dying.port
            file = _to(tmp_path, f"http://127.0.0.1:{port}/hook")
            async with _told(redis_url, file) as (client, _):
                await _end_some(client, 20)
                while (await client.callbacks.count()).waiting != 20:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                async with dying.serving(port):
                    await _until(lambda: len(dying.delivered) == 20)
                    await _until_no_more_wait(client)

    _scene(run)


def test_gone_is_gone_until_somebody_sends_again(redis_url: str, tmp_path: Path) -> None:
    async def run() -> None:
        replies = {"now": status(410)}
        async with (
            Receiver(lambda *_: replies["now"]).serving() as receiver,
            _told(redis_url, _to(tmp_path, receiver.url)) as (client, _),
        ):
            await _end_some(client, 1)
            await _until_no_more_wait(client, dead=1)
            came = receiver.came.total()
            await _more(client)
            await _until_no_more_wait(client, dead=3)
            assert receiver.came.total() == came
            replies["now"] = OK
            await asyncio.to_thread(_redrive_all, redis_url)
            await _until(lambda: len(receiver.delivered) == 3)
            await _until_no_more_wait(client)

    async def _more(client: AsyncStopClient) -> None:
        for n in range(2):
            receipt = await client.stop("u", f"more-{n}", source="s0")
            await client.cancel(receipt.request_id)

    _scene(run)


def _redrive_all(redis_url: str) -> None:
    with StopClient(Settings.load(redis_url=redis_url)) as client:
        dead = list(client.callbacks.dead())
        assert {"gone" in (one.said or "") or "410" in (one.said or "") for one in dead} == {True}
        found = client.callbacks.redrive([one.callback_id for one in dead] + ["nobody"])
        assert list(found.values()) == [True] * 3 + [False]


def test_what_cannot_be_told_is_given_up_in_the_end(redis_url: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with (
            Receiver(lambda *_: status(503)).serving() as receiver,
            _told(redis_url, _to(tmp_path, receiver.url), give_up_s=0.5) as (client, _),
        ):
            await _end_some(client, 5)
            await _until_no_more_wait(client, dead=5)
            assert min(receiver.came.values()) >= 2
        with StopClient(Settings.load(redis_url=redis_url)) as looking:
            dead = list(looking.callbacks.dead())
            assert {one.said for one in dead} == {"it answered 503"}
            assert looking.callbacks.discard([dead[0].callback_id]) == {dead[0].callback_id: True}
            assert looking.callbacks.count().dead == 4
            assert [one[0] for one in looking.callbacks.count().notices()] == ["callbacks"]

    _scene(run)


def test_one_that_hangs_leaves_room_for_others(redis_url: str, tmp_path: Path) -> None:
    async def run() -> None:
        hanging = Receiver(lambda *_: None)
        well = Receiver()
        async with hanging.serving(), well.serving():
            other = f"http://localhost:{well.port}/hook"
            text = (
                f"secrets: ['{SECRET}']\nallow: [127.0.0.0/8, '::1']\nsources:\n"
                f"  - {{source: s0, url: '{hanging.url}'}}\n  - {{source: s1, url: '{other}'}}\n"
            )
            async with _told(redis_url, _file(tmp_path, text), timeout_s=5) as (client, _):
                await _end_some(client, 300)
                await _until(lambda: hanging.connections >= 10)
                await _end_some(client, 50, source="s1")
                async with asyncio.timeout(4):
                    await _until(lambda: len(well.delivered) == 50)
            assert max(hanging.came.values()) == 1

    _scene(run)


def test_the_same_outcome_again_is_told_once(redis_url: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with Receiver().serving() as receiver:
            file = read(_to(tmp_path, receiver.url))
            async with _told(redis_url, tmp_path / "callbacks.yaml") as (client, _):
                telling = Telling(client.callbacks, file)
                for _ in range(3):
                    await telling.keep([outcome(1, source="s0")])
                    await _until(lambda: receiver.came.total() == 1)
                await _until_no_more_wait(client)
        assert receiver.came.total() == 1

    _scene(run)


def test_backoff_has_an_end_however_often_it_was_sent(tmp_path: Path) -> None:
    async def run() -> None:
        async with AsyncStopClient(Settings.load(redis_url="redis://127.0.0.1:1")) as client:
            file = read(_to(tmp_path, "http://127.0.0.1:1/"))
            sending = Sending(client.callbacks, file, CallbackSettings.load())
            assert 1800 <= sending._backoff_s(100_000) <= 3600

    _scene(run)


def test_what_one_sender_is_told_to_be_gone_is_told_to_others(
    redis_url: str, tmp_path: Path
) -> None:
    async def run() -> None:
        file = _file(tmp_path, f"secrets: ['{SECRET}']\nallow: [127.0.0.0/8]\n")
        async with Receiver().serving() as receiver, _told(redis_url, file) as (client, _):
            receiver._answer = lambda *_: status(410)
            await _end_some(client, 1, source="bob", callback_url=receiver.url)
            await _until_no_more_wait(client, dead=1)
            receiver._answer = lambda *_: OK
            await _end_some(client, 1, source="alice", callback_url=f"{receiver.url};a=b?c=d")
            await _end_some(client, 1, source="alicia", callback_url=receiver.url)
            await _until(lambda: receiver.delivered.total() == 2)
        assert f"127.0.0.1:{receiver.port}" == receiver.heads[-1]["host"]

    _scene(run)


def test_a_host_that_is_not_allowed_is_given_up_at_once_and_says_so(
    redis_url: str, tmp_path: Path
) -> None:
    async def run() -> None:
        file = _file(tmp_path, f"secrets: ['{SECRET}']\nallow: [a.org]\n")
        async with Receiver().serving() as receiver, _told(redis_url, file) as (client, _):
            await _end_some(client, 1, callback_url=receiver.url)
            await _until_no_more_wait(client, dead=1)
        with StopClient(Settings.load(redis_url=redis_url)) as looking:
            (found,) = looking.callbacks.dead()
        assert found.said == "127.0.0.1 is not in allow (STOPLINE_CALLBACKS_FILE)"
        assert not receiver.connections

    _scene(run)
