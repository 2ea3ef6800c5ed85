"""Bad input is refused whole and early, with the line, the field and what to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from stopline import Lane

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.processes import Stack

GOOD = '{"user_id": "u", "task_id": "good"}'

BAD_LINES: list[tuple[str, bytes, str | None, str]] = [
    ("a dot segment", b'{"user_id": "..", "task_id": "t"}', "user_id", "would change the path"),
    ("a slash", b'{"user_id": "a/b", "task_id": "t"}', "user_id", "1 to 128"),
    ("empty", b'{"user_id": "", "task_id": "t"}', "user_id", "1 to 128|at least 1"),
    (
        "129 characters",
        json.dumps({"user_id": "x" * 129, "task_id": "t"}).encode(),
        "user_id",
        "128",
    ),
    ("a control character", b'{"user_id": "a\\u0000", "task_id": "t"}', "user_id", "1 to 128"),
    ("an unknown field", b'{"user_id": "u", "task_id": "t", "x": 1}', "x", "unknown"),
    ("a missing field", b'{"user_id": "u"}', "task_id", "required"),
    (
        "not_after in the past",
        b'{"user_id": "u", "task_id": "t", "not_after": "2020-01-01T00:00:00Z"}',
        "not_after",
        "has passed",
    ),
    (
        "a naive time",
        b'{"user_id": "u", "task_id": "t", "issued_at": "2026-01-01T00:00:00"}',
        "issued_at",
        "zone",
    ),
    ("an unknown lane", b'{"user_id": "u", "task_id": "t", "lane": "x"}', "lane", "emergency"),
    ("a line of 1 MiB", b'{"user_id": "' + b"x" * (1 << 20) + b'"}', None, "longer than"),
    ("broken UTF-8", b'{"user_id": "u\xff", "task_id": "t"}', None, "no UTF-8 at byte 15"),
    ("no JSON", b"{", None, "no JSON"),
    ("no object", b"[1, 2]", None, "a JSON object is needed"),
]


def _bulk_file(path: Path, lines: list[bytes]) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_bad_lines_are_kept_with_their_reason_and_the_rest_is_sent(stack: Stack) -> None:
    lines = [GOOD.encode(), *(raw for _, raw, _, _ in BAD_LINES)]
    path = _bulk_file(stack.directory / "targets.jsonl", lines)
    done = stack.run("bulk", str(path), "--json")
    assert done.returncode == 1
    report = orjson.loads(done.stdout)
    assert (report["receipts"], report["rejected"]) == ({"accepted": 1}, len(BAD_LINES))
    written = (stack.directory / "targets.jsonl.rejected.jsonl").read_bytes()
    rejected = [orjson.loads(line) for line in written.splitlines()]
    by_line = {one["line"]: one for one in rejected}
    for number, (name, raw, field, reason) in enumerate(BAD_LINES, start=2):
        found = by_line[number]
        assert found["field"] == field, name
        assert any(part in found["reason"] for part in reason.split("|")), found
        assert raw.decode("utf-8", "backslashreplace").startswith(found["input"][:50])
        assert len(found["input"]) <= 2048


def test_with_strict_one_bad_line_sends_nothing(stack: Stack) -> None:
    path = _bulk_file(stack.directory / "targets.jsonl", [GOOD.encode(), b"{"])
    done = stack.run("bulk", str(path), "--strict")
    assert done.returncode == 2
    assert b"1 of 2 lines are bad; nothing was sent" in done.stderr
    assert b"line 2: no JSON" in done.stderr
    with stack.client_of_server() as server:
        assert server.dbsize() == 0


def test_a_dry_run_sends_nothing(stack: Stack) -> None:
    path = _bulk_file(stack.directory / "targets.jsonl", [GOOD.encode()])
    done = stack.run("bulk", str(path), "--dry-run", "--json")
    assert done.returncode == 0
    assert orjson.loads(done.stdout)["lines"] == 1
    with stack.client_of_server() as server:
        assert server.dbsize() == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"u,t\n", b"the column user_id is missing"),
        (b"", b"it is empty"),
        (b"user_id;task_id\n1;2\n", b"its columns are separated by semicolons, and commas"),
        (b"user_id,task_id,colour\n", b"the column 'colour' is unknown"),
        (b"user_id,task_id,task_id\n", b"the column task_id is there twice"),
        (b"user_id,task_id,batch_id\n", b"the column 'batch_id' is unknown"),
    ],
)
def test_a_csv_file_without_its_header_is_refused(
    stack: Stack, content: bytes, message: bytes
) -> None:
    path = stack.directory / "targets.csv"
    path.write_bytes(content)
    done = stack.run("bulk", str(path))
    assert done.returncode == 2
    assert b"line 1: " + message in done.stderr
    with stack.client_of_server() as server:
        assert server.dbsize() == 0


def test_csv_from_a_spreadsheet_and_from_stdin(stack: Stack) -> None:
    """A byte order mark, CRLF, quotes, an empty line, empty values, no last line break."""
    content = (
        '\ufeffuser_id,task_id,sub_user_id,reason\r\nu,a,,"because, so"\r\n\r\nu,b,s,'.encode()
    )
    done = stack.run("bulk", "-", "--json", "--batch-id", "b1", stdin=content)
    assert done.returncode == 0, done.stderr
    assert orjson.loads(done.stdout)["receipts"] == {"accepted": 2}
    assert stack.client.batch("b1").total == 2


def test_an_open_quote_spoils_its_line_only(stack: Stack) -> None:
    path = stack.directory / "targets.csv"
    path.write_bytes(b'user_id,task_id,reason\nu,a,"open\nu,b,fine\nu\n')
    done = stack.run("bulk", str(path), "--json")
    assert done.returncode == 1
    assert orjson.loads(done.stdout)["receipts"] == {"accepted": 1}
    rejected = (stack.directory / "targets.csv.rejected.jsonl").read_text()
    assert "no CSV" in rejected
    assert "1 values where the header has 3" in rejected


def test_a_changed_file_under_its_old_batch_id_is_told(stack: Stack) -> None:
    path = _bulk_file(stack.directory / "t.jsonl", [GOOD.encode()])
    assert stack.run("bulk", str(path), "--batch-id", "b").returncode == 0
    _bulk_file(path, [GOOD.replace("good", "other").encode()])
    done = stack.run("bulk", str(path), "--batch-id", "b", "--json")
    assert done.returncode == 1
    assert orjson.loads(done.stdout)["rejected"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("stop", "..", "t"), 2, b"user_id: "),
        (("stop", "u", "a/b"), 2, b"task_id: "),
        (("stop", "u", ""), 2, b"task_id: "),
        (("stop", "u", "x" * 129), 2, b"task_id: "),
        (("stop", "u", "t", "--issued-at", "2026-01-01T00:00:00"), 2, b"issued_at: the time needs"),
        (("stop", "u", "t", "--issued-at", "soon"), 2, b"issued_at: "),
        (("stop", "u", "t", "--not-after", "2020-01-01T00:00:00Z"), 2, b"not_after: this time has"),
        (("stop", "u", "t", "--reason", "x" * 501), 2, b"reason: "),
        (("stop", "u", "t", "--lane", "fast"), 2, b"fast"),
        (("stop", "u"), 2, b"TASK_ID"),
        (("status", "nobody"), 2, b"knows no request nobody"),
        (("batch", "nothing"), 2, b"knows no batch nothing"),
        (("cancel",), 2, b"either a request id or --batch"),
        (("cancel", "nobody"), 2, b"knows no request nobody"),
        (("dead", "show", "nobody"), 2, b"no dead letter nobody"),
        (("resumed", "u", "t", "--at", "2026-01-01T00:00:00"), 2, b"at: the time needs a zone"),
        (("worker", "--log-level", "nope"), 2, b"nope"),
        (("dead", "redrive"), 2, b"give ids, or a filter"),
        (("dead", "list", "--outcome", "stopped"), 2, b"'stopped' is not one of"),
        (("bulk", "no-such-file"), 2, b"cannot read no-such-file"),
        (("bulk", "-", "--batch-id", "a b"), 2, b"--batch-id"),
        (("simulate-api", "--faults", "no-such-file"), 2, b"cannot read no-such-file"),
    ],
)
def test_a_bad_command_line_says_what_is_wrong(
    stack: Stack, arguments: tuple[str, ...], code: int, message: bytes
) -> None:
    done = stack.run(*arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


def test_a_key_of_another_target_is_exit_4(stack: Stack) -> None:
    assert stack.run("stop", "u", "a", "--idempotency-key", "k").returncode == 0
    done = stack.run("stop", "u", "b", "--idempotency-key", "k")
    assert done.returncode == 4
    assert b"idempotency_key: " in done.stderr


def test_without_a_server_it_says_how_to_get_one(stack: Stack) -> None:
    stack.settings.update(redis_url=None, data_dir=stack.directory / "none")
    done = stack.run("stop", "u", "t")
    assert done.returncode == 3
    assert b"stopline up" in done.stderr
    assert b"STOPLINE_REDIS_URL" in done.stderr


def test_a_redis_out_of_reach_is_exit_3(stack: Stack) -> None:
    stack.settings.update(redis_url="redis://127.0.0.1:1/0")
    for arguments in (("stop", "u", "t"), ("status", "x"), ("doctor",)):
        done = stack.run(*arguments)
        assert done.returncode == 3, done.stderr
        assert b"Traceback" not in done.stderr


def test_the_cli_cancels_resumes_and_redrives(stack: Stack) -> None:
    first = orjson.loads(stack.run("stop", "u", "a", "--json").stdout)["request_id"]
    assert orjson.loads(stack.run("cancel", first, "--json").stdout)["cancelled"] == 1
    second = orjson.loads(stack.run("stop", "u", "a", "--json").stdout)["request_id"]
    resumed = orjson.loads(stack.run("resumed", "u", "a", "--json").stdout)
    assert resumed["superseded"] == [second]
    assert orjson.loads(stack.run("status", second, "--json").stdout)["outcome"] == "superseded"

    stack.api.start([{"task_id": "bad", "replies": [{"http_status": 400}]}])
    stack.worker()
    failed = stack.run("stop", "u", "bad", "--wait", "--json")
    assert failed.returncode == 1
    letter = orjson.loads(failed.stdout)["request_id"]
    listed = stack.run("dead", "list", "--outcome", "rejected", "--json")
    assert orjson.loads(listed.stdout)["request_id"] == letter
    assert b"rejected" in stack.run("dead", "list").stdout
    redriven = orjson.loads(stack.run("dead", "redrive", letter, "--json").stdout)
    new_id = redriven["redriven"][letter]["request_id"]
    assert stack.client.wait(new_id, 60).outcome == "stopped"
    assert stack.run("dead", "list", "--json").stdout == b""

    assert stack.run("stop", "u", "bad2", "--lane", Lane.EMERGENCY, "--wait").returncode == 0


def test_the_doctor_finds_what_is_wrong(stack: Stack) -> None:
    stack.api.start()
    done = stack.run("doctor", "--json")
    findings = {one["checked"]: one for one in map(orjson.loads, done.stdout.splitlines())}
    assert done.returncode == 0, done.stdout
    assert findings["persistence"]["level"] == "warning"  # the tests' server has no file
    assert findings["API"]["level"] == "ok"
    with stack.client_of_server() as server:
        server.config_set("maxmemory", "1gb")
        server.config_set("maxmemory-policy", "allkeys-lru")
        try:
            done = stack.run("doctor")
        finally:
            server.config_set("maxmemory", 0)
            server.config_set("maxmemory-policy", "noeviction")
    assert done.returncode == 2
    assert b"maxmemory-policy noeviction" in done.stdout


@pytest.mark.parametrize(
    ("settings", "variables"),
    [
        ({"lease_s": 10}, [b"STOPLINE_CALL_TIMEOUT_S (20)", b"STOPLINE_LEASE_S (10)"]),
        ({"visibility_timeout_s": 20}, [b"STOPLINE_LEASE_S", b"STOPLINE_VISIBILITY_TIMEOUT_S"]),
        ({"max_attempts": 0}, [b"STOPLINE_MAX_ATTEMPTS"]),
        ({"api_token_file": "x"}, [b"STOPLINE_API_TOKEN", b"not both"]),
        ({"redis_url": "http://x"}, [b"STOPLINE_REDIS_URL", b"redis://"]),
        ({"api_proxy": "user:hunter2@host:3128"}, [b"STOPLINE_API_PROXY", b"http://"]),
        ({"api_url": "no url"}, [b"STOPLINE_API_URL"]),
    ],
)
def test_settings_that_do_not_fit_are_named(
    stack: Stack, settings: dict[str, Any], variables: list[bytes]
) -> None:
    stack.settings.update(settings)
    for arguments in (("stop", "u", "t"), ("worker",)):
        done = stack.run(*arguments)
        assert done.returncode == 2
        for variable in variables:
            assert variable in done.stderr
        assert b"Traceback" not in done.stderr
        assert b"hunter2" not in done.stderr


def test_a_worker_without_a_token_says_so(stack: Stack) -> None:
    stack.settings.update(api_token=None)
    done = stack.run("worker")
    assert done.returncode == 2
    assert b"No API token: set STOPLINE_API_TOKEN" in done.stderr
