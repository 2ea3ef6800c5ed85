"""Reading batch files."""

from __future__ import annotations

import io
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from stopline.bulk.lines import Line, LineError
from stopline.bulk.reading import Format, guess_format, read, scan, seekable
from stopline.errors import InvalidRequestError


def _read(content: bytes, how: Format) -> list[Line | LineError]:
    return list(read(io.BytesIO(content), how, "b", {"source": "s"}))


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(content: bytes) -> None:
    for line in _read(content, Format.JSONL):
        assert isinstance(line, Line | LineError)
    for line in _read(b"user_id,task_id\n" + content, Format.CSV):
        assert isinstance(line, Line | LineError)
    with suppress(InvalidRequestError):  # a header that is none
        _read(content, Format.CSV)


def test_lines_keep_their_numbers_and_take_defaults() -> None:
    lines = _read(b'\n{"user_id":"u","task_id":"t"}\n\n{"user_id":"u","task_id":"x"}', Format.JSONL)
    assert [line.number for line in lines] == [2, 4]
    assert isinstance(lines[0], Line)
    assert (lines[0].request.source, lines[0].request.batch_id) == ("s", "b")


def test_the_same_content_has_the_same_batch_id() -> None:
    first, second = (scan(io.BytesIO(b"a\nb")) for _ in range(2))
    assert first == second
    assert first.batch_id != scan(io.BytesIO(b"a\nc")).batch_id
    assert first.lines == 2
    assert scan(io.BytesIO(b"a\nb\n")).lines == 2


def test_the_format_is_guessed() -> None:
    scanned = scan(io.BytesIO(b'{"user_id"'))
    assert guess_format("x.csv", scanned) is Format.CSV
    assert guess_format("x.jsonl", scanned) is Format.JSONL
    assert guess_format("-", scanned) is Format.JSONL
    assert guess_format("-", scan(io.BytesIO(b"user_id"))) is Format.CSV


def test_a_pipe_is_copied_so_that_it_can_be_read_twice() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with seekable(Pipe(b"abc")) as stream:
        assert stream.read() == b"abc"
        stream.seek(0)
        assert stream.read() == b"abc"
