"""The archive: outcomes are put into it, looked for, and taken out when they are old."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError

from stopline.contract import Outcome, to_microseconds
from stopline_archive.database import connect, is_current, migrate, translated
from stopline_archive.places import HistoryFilter, Place
from stopline_archive.tables import outcomes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.engine import URL, RowMapping

_log = logging.getLogger(__name__)
_OF_A_ROW: Final = (DataError, IntegrityError)
"""What is wrong with a row, and not with the database."""
_INSERTS: Final = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
_PAGE: Final = 500
_DELETED_AT_ONCE: Final = 5_000


class Archive:
    """Outcomes in SQL. Safe to share between threads.

    Args:
        url: of the database.
    """

    def __init__(self, url: URL) -> None:
        self._engine = connect(url)

    def prepare(self) -> None:
        """Make the tables or renew them; raises as `database.migrate`."""
        migrate(self._engine)

    def is_prepared(self) -> bool:
        """Whether the tables are there, of this version."""
        return is_current(self._engine)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def put(self, some: Sequence[Outcome]) -> None:
        """Keep outcomes; what is there already stays as it is.

        Raises:
            UnavailableError: the database cannot be reached; none of them is kept.
        """
        if not some:
            return
        rows = {one.request_id: _row(one) for one in some}
        with translated(self._engine):
            try:
                self._insert(list(rows.values()))
            except _OF_A_ROW:
                self._insert_each(rows.values())

    def _insert(self, rows: list[dict[str, Any]]) -> None:
        insert: Any = _INSERTS[self._engine.dialect.name](outcomes)
        with self._engine.begin() as connection:
            connection.execute(insert.on_conflict_do_nothing(index_elements=["request_id"]), rows)

    def _insert_each(self, rows: Iterable[dict[str, Any]]) -> None:
        """One that the database cannot take must not keep the others waiting for ever."""
        for row in rows:
            try:
                self._insert([row])
            except _OF_A_ROW as error:
                _log.error(  # the traceback has all that is in the row
                    "an outcome cannot be archived: %s",
                    type(error.orig).__name__,
                    extra={"action": "archive_refused", "request_id": row["request_id"]},
                )

    def page(
        self, wanted: HistoryFilter, *, after: Place | None = None, limit: int = _PAGE
    ) -> tuple[tuple[Outcome, ...], Place | None]:
        """Some outcomes, the newest first, and the place behind the last; None: that was all."""
        query = _query(wanted)
        if after is not None:
            behind = tuple_(outcomes.c.finished_at, outcomes.c.request_id) < tuple_(*after)
            query = query.where(behind)
        with translated(self._engine), self._engine.connect() as connection:
            rows = connection.execute(query.limit(limit)).mappings().all()
        found = tuple(_outcome(row) for row in rows)
        if len(rows) < limit:
            return found, None
        return found, Place(rows[-1]["finished_at"], rows[-1]["request_id"])

    def search(self, wanted: HistoryFilter) -> Iterator[Outcome]:
        """All of them, the newest first, a page at a time."""
        found, place = self.page(wanted)
        yield from found
        while place is not None:
            found, place = self.page(wanted, after=place)
            yield from found

    def find(self, request_id: str) -> Outcome | None:
        """The outcome of one request, if it is kept."""
        query = select(outcomes).where(outcomes.c.request_id == request_id)
        with translated(self._engine), self._engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _outcome(row)

    def drop_before(self, moment: datetime) -> int:
        """Take out some of what ended before a moment, the oldest first; how many."""
        old = (
            select(outcomes.c.request_id)
            .where(outcomes.c.finished_at < to_microseconds(moment))
            .order_by(outcomes.c.finished_at)
            .limit(_DELETED_AT_ONCE)
        )
        with translated(self._engine), self._engine.begin() as connection:
            gone = connection.execute(delete(outcomes).where(outcomes.c.request_id.in_(old)))
        return int(gone.rowcount)


def _row(one: Outcome) -> dict[str, Any]:
    # PostgreSQL has no text with a NUL; the document has it as an escape.
    return {name: _without_nul(value) for name, value in _fields(one).items()}


def _without_nul(value: Any) -> Any:
    return value.replace("\x00", "\ufffd") if isinstance(value, str) else value


def _fields(one: Outcome) -> dict[str, Any]:
    return {
        "request_id": one.request_id,
        "user_id": one.user_id,
        "task_id": one.task_id,
        "sub_user_id": one.sub_user_id,
        "lane": one.lane.value,
        "source": one.source,
        "batch_id": one.batch_id,
        "outcome": one.outcome.value,
        "attempts": len(one.attempts),
        "accepted_at": to_microseconds(one.accepted_at),
        "finished_at": to_microseconds(one.finished_at),
        "document": orjson.dumps(one.to_json()).decode(),
    }


def _outcome(row: RowMapping) -> Outcome:
    return Outcome.model_validate(orjson.loads(row["document"]))


def _query(wanted: HistoryFilter) -> Select[Any]:
    return (
        select(outcomes)
        .where(*_conditions(wanted))
        .order_by(outcomes.c.finished_at.desc(), outcomes.c.request_id.desc())
    )


def _conditions(wanted: HistoryFilter) -> Iterator[ColumnElement[bool]]:
    for name in ("user_id", "task_id", "source", "batch_id", "outcome"):
        if (value := getattr(wanted, name)) is not None:
            yield outcomes.c[name] == _without_nul(str(value))
    if wanted.since is not None:
        yield outcomes.c.finished_at >= to_microseconds(wanted.since)
    if wanted.until is not None:
        yield outcomes.c.finished_at < to_microseconds(wanted.until)
