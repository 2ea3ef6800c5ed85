"""A file of rules, read again when it changes; a wrong one leaves the old rules in force."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter

from stopline.errors import InvalidSettingsError
from stopline.policy_file import Entry, PolicyFile, PolicyFileError
from stopline_events.rules.book import RuleBook, WrongRuleError
from stopline_events.rules.documents import RULES_MAX, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from stopline_events.rules.cel import Cel


_log = logging.getLogger(__name__)
_RULE: Final = TypeAdapter(Rule)
_LOOK_S: Final = 1.0


def read_rules(path: Path) -> RuleBook:
    """The rules of a file, checked.

    Raises:
        PolicyFileError: something is wrong with them; the message names file, line and field.
        InvalidSettingsError: the packages for rules are not installed.
    """
    cel = _cel()
    file = PolicyFile(path)
    if "rules" not in file.sections:
        raise PolicyFileError(f"{path}: it has no rules")
    entries = file.entries("rules")
    if len(entries) > RULES_MAX:
        raise file.error(
            file.sections["rules"], "rules", f"there are {len(entries)}; {RULES_MAX} at most"
        )
    rules = tuple(file.read(entry, _RULE) for entry in entries)
    _check_names(file, entries, rules)
    try:
        return RuleBook(rules, cel)
    except WrongRuleError as error:
        number = [one.name for one in rules].index(error.rule)
        raise _located(file, entries[number], error) from None


def _cel() -> Cel:
    try:
        # A gateway without rules needs none of it.
        from stopline_events.rules.cel import Cel  # noqa: PLC0415
    except ModuleNotFoundError:
        raise InvalidSettingsError(
            "The packages for rules are not installed: install the extra 'events' (in a checkout: "
            "pip install '.[events]')"
        ) from None
    return Cel()


def unreachable(book: RuleBook) -> Iterator[tuple[str, str]]:
    """Rules that never fire, and why: one before them always does, or on the same condition."""
    seen: dict[str, str] = {}
    for rule in book.rules:
        condition = " ".join(rule.when.split())
        before = seen.get("true") or seen.get(condition)
        if before is not None:
            yield rule.name, f"{before} stands before it and fires whenever it would"
        elif not rule.also:
            seen[condition] = rule.name


def _check_names(file: PolicyFile, entries: list[Entry], rules: tuple[Rule, ...]) -> None:
    seen: set[str] = set()
    for entry, rule in zip(entries, rules, strict=True):
        if rule.name in seen:
            raise file.error(entry.node, f"{entry.name}.name", f"{rule.name} is there twice")
        seen.add(rule.name)


def _located(file: PolicyFile, entry: Entry, error: WrongRuleError) -> PolicyFileError:
    node = file.inner(entry, error.field.split("."))
    column = "" if error.column is None else f" (character {error.column})"
    reason = f"{error.reason}{column}"
    return file.error(node, f"{entry.name}.{error.field}", reason, line=error.line - 1)


class RuleFile:
    """The rules in force.

    Args:
        path: the file.
        monotonic: a clock, for how often the file is looked at.

    Raises:
        PolicyFileError: the file is wrong at the beginning, when there are no others.
        InvalidSettingsError: the packages for rules are not installed.
    """

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._stamp = self._look()
        self._look_at = monotonic() + _LOOK_S
        self._book = read_rules(path)
        self.problem: str | None = None
        """What is wrong with the file as it is now; the rules of before are in force."""

    @property
    def book(self) -> RuleBook:
        """The rules that are in force now; looks at the file once a second."""
        now = self._monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_S
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp
                self._read()
        return self._book

    def _read(self) -> None:
        try:
            self._book = read_rules(self._path)
        except Exception as error:  # noqa: BLE001  # the rules of before stay in force, whatever it is
            self.problem = f"{self._path}: {error!r}"
            if isinstance(error, PolicyFileError):
                self.problem = str(error)
            _log.error(
                "%s; the rules of before stay in force", error, extra={"action": "rules_wrong"}
            )
            return
        self.problem = None
        _log.info("%d rules are in force", len(self._book.rules), extra={"action": "rules_read"})

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
