"""The archive: each outcome once, found by what people ask for, gone when it is old."""

from __future__ import annotations

import csv
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from stopline import Settings
from stopline.contract import OutcomeKind
from stopline.errors import InvalidRequestError, InvalidSettingsError, UnavailableError
from stopline_archive import sheet
from stopline_archive.archive import Archive
from stopline_archive.opening import open_archive
from stopline_archive.places import HistoryFilter, Place
from stopline_archive.settings import ArchiveSettings
from stopline_archive.tables import metadata
from tests.conftest import free_port
from tests.outcomes.made import START, outcome

if TYPE_CHECKING:
    from pathlib import Path


def _ids(archive: Archive, **wanted: object) -> list[int]:
    return [
        int(one.request_id[1:])
        for one in archive.search(HistoryFilter(**wanted))  # type: ignore[arg-type]
    ]


def test_an_outcome_that_comes_again_is_there_once_as_it_came_first(archive: Archive) -> None:
    archive.put([outcome(1), outcome(2)])
    archive.put([outcome(2, detail="another"), outcome(3), outcome(3)])
    assert _ids(archive) == [3, 2, 1]
    found = archive.find("r00000002")
    assert found == outcome(2)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"task_id": "t1"}, [1]),
        ({"user_id": "other"}, [4]),
        ({"source": "policy:a"}, [5]),
        ({"batch_id": "b"}, [6, 2]),
        ({"outcome": OutcomeKind.EXPIRED}, [3]),
        ({"since": START + timedelta(seconds=5)}, [6, 5]),
        ({"until": START + timedelta(seconds=2)}, [1]),
        ({"batch_id": "b", "until": START + timedelta(seconds=6)}, [2]),
        ({"task_id": "t1' OR 1=1 --"}, []),
    ],
)
def test_what_people_ask_for(
    archive: Archive, wanted: dict[str, object], expected: list[int]
) -> None:
    archive.put(
        [
            outcome(1),
            outcome(2, batch_id="b"),
            outcome(3, outcome=OutcomeKind.EXPIRED),
            outcome(4, user_id="other"),
            outcome(5, source="policy:a"),
            outcome(6, batch_id="b"),
        ]
    )
    assert _ids(archive, **wanted) == expected


def test_pages_lose_and_repeat_nothing_where_many_ended_in_one_moment(archive: Archive) -> None:
    archive.put([outcome(number, finished_at=START) for number in range(25)])
    found, place = archive.page(HistoryFilter(), limit=10)
    seen = [one.request_id for one in found]
    while place is not None:
        found, place = archive.page(HistoryFilter(), after=Place.parse(str(place)), limit=10)
        seen += [one.request_id for one in found]
    assert seen == [f"r{number:08}" for number in reversed(range(25))]


@pytest.mark.parametrize(
    "cursor", ["", "1", "1:", ":r", "x:r", "1.5:r", "²:r", "9" * 100 + ":r", "1:a b"]
)
def test_a_cursor_that_is_none(cursor: str) -> None:
    with pytest.raises(InvalidRequestError, match="cursor"):
        Place.parse(cursor)


def test_what_is_old_goes_a_piece_at_a_time(archive: Archive) -> None:
    archive.put([outcome(number) for number in range(10)])
    assert archive.drop_before(START + timedelta(seconds=4)) == 4
    assert archive.drop_before(START + timedelta(seconds=4)) == 0
    assert _ids(archive) == [9, 8, 7, 6, 5, 4]


def test_the_steps_make_the_tables_that_the_code_knows(archive: Archive, archive_url: str) -> None:
    assert archive.is_prepared()
    engine = create_engine(archive_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_one_that_the_database_cannot_take_keeps_no_other_waiting(archive: Archive) -> None:
    archive.put([outcome(1), outcome(2, source="a\x00b", reason="\x00"), outcome(3)])
    assert _ids(archive) == [3, 2, 1]
    assert _ids(archive, source="a\x00b") == [2]
    found = archive.find("r00000002")
    assert found is not None
    assert found.source == "a\x00b"


_PREPARE = """
import sys
from sqlalchemy.engine import make_url
from stopline.errors import UnavailableError
from stopline_archive import sheet
from stopline_archive.archive import Archive
archive = Archive(make_url(sys.argv[1]))
while True:
    try:
        archive.prepare()
    except UnavailableError:  # SQLite: another one does; a sink tries again, too
        continue
    break
"""


def test_processes_that_start_at_once_make_them_once(archive_url: str) -> None:
    command = [sys.executable, "-c", _PREPARE, archive_url]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    for one in started:
        _, problem = one.communicate(timeout=60)
        assert one.returncode == 0, problem.decode()
    archive = Archive(make_url(archive_url))
    assert archive.is_prepared()
    archive.close()


def test_tables_of_a_later_version_are_left_alone(archive: Archive, archive_url: str) -> None:
    engine = create_engine(archive_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(InvalidSettingsError, match="later version"):
        archive.prepare()
    assert not archive.is_prepared()


def test_a_database_that_is_away_is_told_of_without_its_password() -> None:
    url = f"postgresql+psycopg://stopline:hunter2@127.0.0.1:{free_port()}/none"
    with pytest.raises(UnavailableError) as caught:
        Archive(make_url(url)).put([outcome(1)])
    assert "hunter2" not in f"{caught.value!r}{caught.value.__cause__!r}"
    assert "127.0.0.1" in str(caught.value)


class TestSettings:
    """Where the archive is."""

    def test_it_is_in_the_data_directory_where_nothing_else_is_said(self, tmp_path: Path) -> None:
        library = Settings.load(data_dir=tmp_path)
        url = ArchiveSettings.load().address(library)
        assert url.render_as_string() == f"sqlite:///{tmp_path / 'archive.db'}"

    def test_a_password_may_be_in_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "password").write_text("hunter2\n")
        settings = ArchiveSettings.load(
            url="postgresql://stopline@db/archive", password_file=tmp_path / "password"
        )
        url = settings.address(Settings.load())
        assert (url.drivername, url.password) == ("postgresql+psycopg", "hunter2")
        assert "hunter2" not in repr(settings)

    @pytest.mark.parametrize("url", ["mysql://db", "no url", "postgresql://u:hunter2@db:port/x"])
    def test_what_is_no_address_is_refused_without_repeating_it(self, url: str) -> None:
        with pytest.raises(InvalidSettingsError, match="STOPLINE_ARCHIVE_URL") as caught:
            ArchiveSettings.load(url=url).address(Settings.load())
        assert "hunter2" not in str(caught.value)

    def test_an_archive_that_is_not_there_is_not_made_by_looking(self, tmp_path: Path) -> None:
        with pytest.raises(UnavailableError, match="no archive yet"):
            open_archive(Settings.load(data_dir=tmp_path))
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["=cmd|'/c calc'!A1", "+1", "-1", "@x", "\t="])
def test_what_somebody_wrote_is_no_formula_in_a_spreadsheet(text: str) -> None:
    row = sheet.row(outcome(1, reason=text, source=text, task_id="-1"))
    cells = next(csv.reader([row]))
    told = dict(zip(sheet.COLUMNS, cells, strict=True))
    assert (told["reason"], told["source"], told["task_id"]) == (f"'{text}", f"'{text}", "-1")
