"""The file of keys: read at the start and when it changes, and told when it is wrong."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from stopline.errors import InvalidSettingsError
from stopline_gateway.keys import Scope, new_key
from stopline_gateway.keys_file import KeysFile, read_keys

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.gateway import Desk, KeyRing


def test_keys_are_rotated_and_revoked_while_it_runs(keys: KeyRing) -> None:
    old = keys.add("crm")
    clock = [0.0]
    file = KeysFile(keys.path, clock=lambda: clock[0])
    new = keys.add("crm")
    assert file.find(new) is None  # looked at once a second
    clock[0] += 2
    assert file.find(new) is not None
    assert file.find(old) is not None
    keys.revoke(old)
    clock[0] += 2
    assert file.find(old) is None
    assert file.find(new) is not None


def test_a_file_that_is_wrong_leaves_the_keys_of_before(
    keys: KeyRing, caplog: pytest.LogCaptureFixture
) -> None:
    key = keys.add("crm")
    clock = [0.0]
    file = KeysFile(keys.path, clock=lambda: clock[0])
    keys.path.write_text('{"id":"a"}\n')
    clock[0] += 2
    with caplog.at_level(logging.ERROR):
        assert file.find(key) is not None
        clock[0] += 2
        file.look()
    assert caplog.text.count("line 1: source: this field is required") == 1
    assert not file.is_current
    keys.path.unlink()
    clock[0] += 2
    assert file.find(key) is not None
    keys.add("billing")
    clock[0] += 2
    file.look()
    assert file.is_current


def test_a_keys_file_that_breaks_is_told_though_nobody_calls(keys: KeyRing, locked: Desk) -> None:
    keys.add("crm")

    async def watch() -> Any:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            watching = group.create_task(locked.services.access.watch())
            keys.path.write_text("nonsense\n")
            while not locked.services.access.warnings():  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.01)
            watching.cancel()
        return (await locked.acall("GET", "/readyz")).json()

    ready = locked.run(watch())
    assert ready["ready"] is True
    assert "the keys file is wrong" in ready["warnings"][0]
    assert str(keys.path) not in ready["warnings"][0]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("nonsense\n", "line 1: no JSON"),
        ("\n# a\n{}\n", "line 3: id: this field is required"),
        (f"{new_key('crm', (Scope.STOP,)).line.to_line()}\n" * 2, "line 2: id"),
    ],
)
def test_a_wrong_line_is_named_at_the_start(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "keys"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(InvalidSettingsError, match=told):
        read_keys(path)


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("")
    path.chmod(0o602)
    with pytest.raises(InvalidSettingsError, match="can be written by others"):
        read_keys(path)


def test_a_file_that_was_mended_is_read_again(keys: KeyRing) -> None:
    old = keys.add("crm")
    clock = [0.0]
    file = KeysFile(keys.path, clock=lambda: clock[0])
    keys.revoke(old)
    keys.path.chmod(0o666)
    clock[0] += 2
    assert file.find(old) is not None, "it may have been written by somebody else"
    keys.path.chmod(0o600)
    clock[0] += 2
    assert file.find(old) is None
