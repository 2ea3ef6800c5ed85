"""What people see: nothing from outside is obeyed, and what matters is whole at any width."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from stopline.cli import output
from stopline.contract import Attempt, DeadMessage, Join, Lane, Outcome, OutcomeKind, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 24, 21, 0, tzinfo=UTC)
UUIDS = [f"5832d184-dd53-42a0-8ace-0bf8d660f4c{digit}" for digit in "abcd"]
REASON = "spent 4,000 of 3,000; " * 20
EVIL = "[red]x[/bold] [/] \x1b[2J\x1b]0;title\x07 \u202e \r\n \udcff [link=file:///etc/passwd]"


def _printed(show: Callable[[], object], monkeypatch: pytest.MonkeyPatch, width: int) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=False)
    monkeypatch.setattr(output, "console", console)
    show()
    return stream.getvalue()


def _outcome(text: str = "no") -> Outcome:
    return Outcome(
        request_id=UUIDS[0],
        user_id=UUIDS[1],
        task_id=UUIDS[2],
        sub_user_id=UUIDS[3],
        lane=Lane.BULK,
        source=text,
        reason=text,
        accepted_at=NOW,
        finished_at=NOW,
        outcome=OutcomeKind.REJECTED,
        detail=text,
        joined=(Join(source=text, reason=text, at=NOW),),
        joined_count=1,
        attempts=(
            Attempt(
                number=1,
                started_at=NOW,
                duration_ms=12345.6,
                http_status=400,
                code=10001,
                message=text,
                error=text,
                verdict=Verdict.REJECTED,
                retry_in_s=12.345,
            ),
        ),
    )


def _message(text: str) -> DeadMessage:
    return DeadMessage(
        message_id=UUIDS[0],
        queue=text,
        reason=text,
        quarantined_at=NOW,
        headers={text: text},
        body="",
    )


@pytest.mark.parametrize("width", [80, 120])
def test_what_matters_of_a_dead_letter_is_whole(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    letter = _outcome(REASON)
    printed = _printed(lambda: output.print_letter(letter), monkeypatch, width)
    together = "".join(printed.split())
    for part in (UUIDS[0], "rejected", "2026-11-2421:00:00Z", "/".join(UUIDS[1:]), REASON):
        assert "".join(part.split()) in together
    assert UUIDS[0] in printed
    assert max(map(len, printed.splitlines())) <= width


@pytest.mark.parametrize("width", [80, 120])
def test_what_matters_of_a_status_is_whole(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    printed = _printed(lambda: output.print_status(_outcome(REASON)), monkeypatch, width)
    together = "".join(printed.split())
    assert together.count("".join(REASON.split())) == 7
    for part in ("12345.6 ms", "HTTP 400", "code 10001", "next in 12.345 s", "2026-11-24T21:00"):
        assert "".join(part.split()) in together
    assert max(map(len, printed.splitlines())) <= width


@pytest.mark.parametrize(
    "show",
    [
        lambda: output.print_status(_outcome(EVIL)),
        lambda: output.print_letter(_outcome(EVIL)),
        lambda: output.print_letter(_message(EVIL)),
        lambda: output.console.print(output.facts({"evil": EVIL})),
    ],
)
def test_nothing_from_outside_is_obeyed(
    show: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Markup of rich's once crashed the listing, and escape sequences reached the terminal."""
    printed = _printed(show, monkeypatch, 500)
    assert r"[red]x[/bold] [/] \x1b[2J\x1b]0;title\x07 \u202e \r\n \udcff [link=" in printed
    assert printed.replace("\n", "").isprintable()


@given(st.text())
def test_whatever_is_shown_is_printable(text: str) -> None:
    assert output.shown(text).isprintable()


def test_messages_are_shown_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    output.say(f"one\ntwo {EVIL}")
    printed = capsys.readouterr().err
    assert printed.startswith("one\ntwo [red]")
    assert "\x1b" not in printed
