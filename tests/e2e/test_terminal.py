"""The command line as people and scripts use it: a sentence each, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from stopline import Lane, OutcomeKind, StopRequest, UnknownRequestError
from stopline.contract import Junk, Verdict, new_request_id
from stopline.ledger import Ledger, commands
from stopline.ledger.limits import Limits
from stopline.ledger.values import Ended, Record, Submission
from stopline.servers.connecting import connect
from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.support.processes import Stack


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    assert b"Traceback" not in done.stderr
    return done.stderr.decode()


_REJECTED = Record(Verdict.REJECTED, duration_ms=1.0)


def _bury(redis_url: str, count: int) -> None:
    """Make dead letters, as workers would."""
    ledger, limits = Ledger(connect(redis_url)), Limits()
    for first in range(0, count, 250):
        requests = [
            StopRequest(user_id="u", task_id=str(number), lane=Lane.BULK)
            for number in range(first, min(first + 250, count))
        ]
        ledger.run(commands.accept(limits, [Submission(one) for one in requests]))
        ids = [one.request_id for one in requests]
        ledger.run(commands.claim(limits, ids, "e:1"))
        ended = [Ended(one, "e:1.1", _REJECTED, OutcomeKind.REJECTED, "no") for one in ids]
        ledger.run(commands.settle(limits, ended))
    ledger.close()


@pytest.mark.parametrize("ending", ["--dry-run", "--yes", None])
def test_all_is_asked_for(stack: Stack, ending: str | None) -> None:
    _bury(stack.redis_url, 300)
    done = stack.run("dead", "discard", "--all", *([ending] if ending else []), stdin=b"")
    assert stack.client.dead_count() == (0 if ending == "--yes" else 300)
    if ending is None:
        assert done.returncode == 2
        assert "all 300 would be dropped: say --yes" in _said(done)
    else:
        assert done.returncode == 0


def test_letters_are_sent_again_while_they_are_gone_through(stack: Stack) -> None:
    """More than a page of them, which once moved the places of the others, in quadratic time."""
    _bury(stack.redis_url, 1100)
    done = stack.run("dead", "redrive", "--user-id", "u", "--json")
    assert done.returncode == 0, _said(done)
    assert len(orjson.loads(done.stdout)["redriven"]) == 1100
    assert stack.client.dead_count() == 0


def test_what_dies_again_is_not_sent_again(stack: Stack) -> None:
    """An API that rejects at once: the walk met its own requests for ever."""
    _bury(stack.redis_url, 600)
    ledger, limits = Ledger(connect(stack.redis_url)), Limits()
    sent = 0
    letters = stack.client.dead_letters()
    while chunk := list(islice(letters, 250)):
        ids = [one.request_id for one in stack.client.redrive(chunk).values()]
        ledger.run(commands.claim(limits, ids, "e:2"))
        ended = [Ended(one, "e:2.1", _REJECTED, OutcomeKind.REJECTED, "no") for one in ids]
        ledger.run(commands.settle(limits, ended))
        sent += len(ids)
    ledger.close()
    assert sent == 600
    assert stack.client.dead_count() == 600


def test_sending_again_takes_twice_as_long_for_twice_as_many(stack: Stack) -> None:
    """Counted in calls of functions: a clock would measure the machine."""
    took = []
    for count in (1000, 2000):
        _bury(stack.redis_url, count)
        calls = Counter[str]()
        sys.setprofile(lambda _frame, event, _argument, calls=calls: calls.update([event]))
        try:
            letters = stack.client.dead_letters()
            while chunk := list(islice(letters, 250)):
                stack.client.redrive(chunk)
        finally:
            sys.setprofile(None)
        took.append(calls["call"] + calls["c_call"])
        assert stack.client.dead_count() == 0
    assert took[1] < 2.2 * took[0]


def test_the_newest_come_first_and_since_a_moment(stack: Stack) -> None:
    _bury(stack.redis_url, 3)
    first = [one.request_id for one in stack.client.dead_letters()]
    middle = stack.client.dead_letter(first[-1]).finished_at
    wait_until(lambda: time.time() > middle.timestamp() + 0.01)
    stack.client._ledger.run(commands.quarantine(Limits(), Junk("m", "junk", b"")))
    listed = [
        orjson.loads(line) for line in stack.run("dead", "list", "--json").stdout.splitlines()
    ]
    assert [one.get("message_id") or one["request_id"] for one in listed] == ["m", *first[::-1]]
    since = listed[0]["quarantined_at"]
    assert len(stack.run("dead", "list", "--since", since, "--json").stdout.splitlines()) == 1


def test_markup_and_escapes_in_a_queue_name_do_not_spoil_the_list(stack: Stack) -> None:
    evil = "[/bold] \x1b[2J\x1b]0;x\x07"
    stack.client._ledger.run(commands.quarantine(Limits(), Junk("m", evil, b"", queue=evil)))
    for arguments in (("dead", "list"), ("dead", "show", "m")):
        done = stack.run(*arguments)
        assert done.returncode == 0, _said(done)
        assert b"\x1b" not in done.stdout
        assert rb"[/bold] \x1b[2J" in done.stdout


class TestBulk:
    def test_a_pipe_has_no_place_beside_it(self, stack: Stack) -> None:
        """`bulk <(cat bad.csv)`: /dev/fd/63 has no neighbours."""
        lines = "user_id,task_id\nu,ok\nu,a/b\n"
        read, write = os.pipe()
        os.write(write, lines.encode())
        os.close(write)
        command = [sys.executable, "-m", "stopline.cli", "bulk", f"/dev/fd/{read}", "--json"]
        done = subprocess.run(
            command,
            env={**os.environ, **stack.environment},
            cwd=stack.directory,
            pass_fds=[read],
            capture_output=True,
            check=False,
        )
        os.close(read)
        assert done.returncode == 1, _said(done)
        document = orjson.loads(done.stdout)
        rejected = stack.directory / document["rejected_file"]
        assert orjson.loads(rejected.read_bytes())["field"] == "task_id"

    def test_a_place_that_cannot_be_written_is_said_before_anything_is_sent(
        self, stack: Stack
    ) -> None:
        (stack.directory / "targets.csv").write_text("user_id,task_id\nu,t\n")
        missing = stack.directory / "no" / "such" / "place"
        done = stack.run("bulk", "targets.csv", "--rejected", str(missing))
        assert done.returncode == 2
        assert "nothing was sent" in _said(done)
        assert "--rejected" in _said(done)
        assert stack.client.heartbeats().processes == ()
        with stack.client_of_server() as server:
            assert server.llen(Lane.BULK.queue) == 0

    def test_the_way_out_works(self, stack: Stack) -> None:
        (stack.directory / "targets.csv").write_text("user_id,task_id\nu,a/b\n")
        done = stack.run("bulk", "targets.csv", "--rejected", "refused.jsonl")
        assert done.returncode == 1
        assert b"a/b" in (stack.directory / "refused.jsonl").read_bytes()

    def test_the_file_itself_is_no_place_for_its_refused_lines(self, stack: Stack) -> None:
        path = stack.directory / "targets.jsonl"
        path.write_text('{"user_id":"u","task_id":"t"}\n')
        (stack.directory / "link").symlink_to(path)
        for place in ("targets.jsonl", "link"):
            done = stack.run("bulk", "targets.jsonl", "--rejected", place)
            assert done.returncode == 2
            assert "is the file to be sent" in _said(done)
        assert path.read_text().startswith('{"user_id"')

    def test_what_stands_at_the_place_stays_where_no_line_was_refused(self, stack: Stack) -> None:
        (stack.directory / "targets.csv").write_text("user_id,task_id\nu,t\n")
        (stack.directory / "notes").write_text("mine")
        (stack.directory / "null").symlink_to("/dev/null")
        for place in ("notes", "null"):
            assert stack.run("bulk", "targets.csv", "--rejected", place).returncode == 0
        assert (stack.directory / "notes").read_text() == "mine"
        assert (stack.directory / "null").is_symlink()

    def test_what_an_earlier_run_refused_goes_when_the_file_is_mended(self, stack: Stack) -> None:
        path = stack.directory / "targets.csv"
        path.write_text("user_id,task_id\nu,a/b\n")
        assert stack.run("bulk", "targets.csv").returncode == 1
        assert list(stack.directory.glob("*.rejected.jsonl"))
        path.write_text("user_id,task_id\nu,ab\n")
        assert stack.run("bulk", "targets.csv").returncode == 0
        assert not list(stack.directory.glob("*.rejected.jsonl*"))

    def test_nothing_is_left_where_no_line_was_refused(self, stack: Stack) -> None:
        (stack.directory / "targets.csv").write_text("user_id,task_id\nu,t\n")
        assert stack.run("bulk", "targets.csv").returncode == 0
        assert not list(stack.directory.glob("*.rejected.jsonl"))

    def test_a_file_without_lines_has_nothing_to_wait_for(self, stack: Stack) -> None:
        done = stack.run("bulk", "-", "--format", "csv", "--wait", stdin=b"user_id,task_id\n")
        assert done.returncode == 0, _said(done)
        assert b"nothing was sent" in done.stdout

    def test_a_byte_order_mark_before_json_is_none(self, stack: Stack) -> None:
        done = stack.run("bulk", "-", stdin=b'\xef\xbb\xbf{"user_id":"u","task_id":"t"}\n')
        assert done.returncode == 0, _said(done)

    def test_a_wait_has_a_limit(self, stack: Stack) -> None:
        done = stack.run(
            "bulk",
            "-",
            "--batch-id",
            "b",
            "--wait",
            "--timeout",
            "0.5",
            stdin=b"user_id,task_id\nu,t\n",
        )
        assert done.returncode == 1
        assert "1 of 1 have no outcome after 0.5 s" in _said(done)
        watched = stack.run("batch", "b", "--watch", "--timeout", "0.1")
        assert watched.returncode == 1
        stack.api.start()
        stack.worker()
        assert stack.run("batch", "b", "--watch").returncode == 0

    def test_no_finished_bar_where_nobody_looks(self, stack: Stack) -> None:
        done = stack.run("bulk", "-", stdin=b"user_id,task_id\nu,t\n")
        assert _said(done) == ""

    def test_a_bad_header_is_no_reason_to_go_on(self, stack: Stack) -> None:
        done = stack.run("bulk", "-", stdin=b"a;b\n1;2\n")
        assert done.returncode == 2
        assert "semicolons" in _said(done)
        assert "go on" not in _said(done)

    def test_a_file_sent_again_after_a_resume_says_how_to_stop_anew(self, stack: Stack) -> None:
        lines = b"user_id,task_id\nu,t\n"
        stack.run("bulk", "-", stdin=lines)
        stack.run("resumed", "u", "t")
        done = stack.run("bulk", "-", stdin=lines)
        assert b"nothing new was sent" in done.stdout
        assert b"--batch-id" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("resumed", "u", "t", "--at", "20261125"), "RFC 3339"),
        (("stop", "u", "t", "--issued-at", "1700000000"), "RFC 3339"),
        (("stop", "u", "t", "--not-after", "tomorrow"), "RFC 3339"),
        (("cancel", "x", "--by", ""), "by: "),
        (("dead", "redrive", "x", "--by", "b" * 201), "x"),
        (("dead", "list", "--since", "2026"), "RFC 3339"),
        (("status", "\udcff"), "no UTF-8"),
        (("bulk", "x", "--timeout", "5"), "--timeout goes with --wait"),
        (("bulk", "/dev/zero"), "it is a device"),
        (("bulk", "/proc/self/mem"), "cannot read /proc/self/mem"),
        (("dead", "list", "--limit", "9" * 30), "--limit"),
    ],
)
def test_bad_input_is_a_sentence(stack: Stack, arguments: tuple[str, ...], says: str) -> None:
    done = stack.run(*arguments)
    assert done.returncode == 2
    assert says in _said(done)


@pytest.mark.parametrize(
    "arguments",
    [
        ("resumed", "u", "t", "--at", "20261125"),
        ("dead", "redrive", "--since", "2026"),
        ("stop", "u", "a/b"),
    ],
)
def test_bad_input_is_said_before_anybody_is_asked(
    stack: Stack, arguments: tuple[str, ...]
) -> None:
    stack.settings["redis_url"] = "redis://127.0.0.1:1/0"
    assert stack.run(*arguments).returncode == 2


def test_no_descriptors_left_is_a_sentence(stack: Stack) -> None:
    code = (
        "import resource, sys\n"
        "from stopline.cli import main\n"
        "import stopline.cli.requests\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "sys.argv = ['stopline', 'stop', 'u', 't']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **stack.environment},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3
    assert "Traceback" not in _said(done)


def test_what_the_ledger_never_knew_is_said_at_once(stack: Stack) -> None:
    began = time.monotonic()
    for timeout_s in (None, 30.0):
        with pytest.raises(UnknownRequestError):
            stack.client.wait(new_request_id(), timeout_s)
    assert time.monotonic() - began < 10
    receipt = stack.client.stop("u", "t")
    with stack.client_of_server() as server:
        server.flushdb()
    with pytest.raises(UnknownRequestError):
        stack.client.wait(receipt.request_id, 30)


def test_an_outcome_that_was_there_before_is_found(stack: Stack) -> None:
    receipt = stack.client.stop("u", "t")
    stack.client.cancel(receipt.request_id, by="tester")
    found: Any = stack.client.wait(receipt.request_id, 5)
    assert found.outcome is OutcomeKind.CANCELLED
