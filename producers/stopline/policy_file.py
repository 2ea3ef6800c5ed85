"""Files of rules and guards: YAML, read strictly; each error names its file, line and field.

One file may hold both: `rules:` are read by `stopline_events`, `guards:` here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from stopline.contract import Guard, check_guards, describe
from stopline.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FILE_BYTES_MAX: Final = 1 << 20
_DEPTH_MAX: Final = 20
_SECTIONS: Final = frozenset({"rules", "guards"})
_GUARD: Final = TypeAdapter(Guard)
T = TypeVar("T", bound=BaseModel)


class PolicyFileError(InvalidRequestError):
    """A file of rules or guards is wrong; the message names file, line and field."""


class Entry(NamedTuple):
    """One rule or guard as it stands in the file."""

    data: Any
    node: yaml.Node
    name: str
    """Where it stands, as `guards[0]`."""


class PolicyFile:
    """A file that was read, section by section.

    Raises:
        PolicyFileError: it cannot be read, is no YAML, or has other sections than these.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._root = self._compose(_read(path))
        self.sections = self._sections()

    def entries(self, section: str) -> list[Entry]:
        """The entries of a section; empty where there is none."""
        node = self.sections.get(section)
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            raise self.error(node, section, "a list is needed")
        return [
            Entry(self._construct(one, f"{section}[{number}]"), one, f"{section}[{number}]")
            for number, one in enumerate(node.value)
        ]

    def _construct(self, node: yaml.Node, name: str) -> Any:
        try:
            return yaml.SafeLoader("").construct_document(node)
        except yaml.MarkedYAMLError as error:
            what = f"{name}: {error.problem}"
            raise self._error_at(error.problem_mark or node.start_mark, what) from None
        except (ValueError, TypeError, OverflowError) as error:
            raise self.error(node, name, str(error)) from None

    def read(self, entry: Entry, kind: TypeAdapter[T]) -> T:
        """An entry as a document; raises `PolicyFileError`."""
        try:
            return kind.validate_python(entry.data)
        except ValidationError as error:
            place = error.errors(include_url=False, include_input=False)[0]["loc"]
            field, reason = describe(error)
            where = entry.name if field == "request" else f"{entry.name}.{field}"
            raise self.error(_inner(entry.node, place), where, reason) from None

    def error(self, node: yaml.Node, field: str, reason: str, *, line: int = 0) -> PolicyFileError:
        """What is wrong at a place of the file; `line` is counted from where its text begins."""
        is_block = isinstance(node, yaml.ScalarNode) and node.style in {"|", ">"}
        text = f"{field}: {reason}" if field else reason
        return self._error_at(node.start_mark, text, line + is_block)

    def inner(self, entry: Entry, place: Sequence[str | int]) -> yaml.Node:
        """The node at a place of an entry, or the nearest one around it that there is."""
        return _inner(entry.node, place)

    def _error_at(self, mark: Any, text: str, further: int = 0) -> PolicyFileError:
        line = f":{mark.line + 1 + further}" if mark is not None else ""
        return PolicyFileError(f"{self._path}{line}: {text}")

    def _compose(self, text: str) -> yaml.MappingNode:
        try:
            self._check_events(text)
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            what = error.problem or "this is no YAML"
            raise self._error_at(error.problem_mark, what) from None
        except (yaml.YAMLError, RecursionError):
            raise self._error_at(None, "this is no YAML that can be read") from None
        if not isinstance(root, yaml.MappingNode):
            raise self._error_at(None, "a mapping is needed, with rules, guards, or both")
        self._check_keys(root)
        return root

    def _check_events(self, text: str) -> None:
        """Look at what the parser finds, before anything is made of it."""
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise self._error_at(event.start_mark, "anchors and aliases are not read")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEPTH_MAX:
                raise self._error_at(event.start_mark, f"it is nested more than {_DEPTH_MAX} deep")

    def _check_keys(self, node: yaml.Node) -> None:
        """A key that stands twice would hide the first."""
        if isinstance(node, yaml.SequenceNode):
            for one in node.value:
                self._check_keys(one)
        if not isinstance(node, yaml.MappingNode):
            return
        seen = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._error_at(key.start_mark, "a name is needed here")
            if key.value in seen:
                raise self._error_at(key.start_mark, f"the key {key.value!r} stands here twice")
            seen.add(key.value)
            self._check_keys(value)

    def _sections(self) -> dict[str, yaml.Node]:
        found = {key.value: value for key, value in self._root.value}
        for key, _ in self._root.value:
            if key.value not in _SECTIONS:
                raise self.error(key, key.value, "this section is unknown: rules, or guards")
        return found


def read_guards(path: Path) -> tuple[Guard, ...]:
    """The guards of a file.

    Raises:
        PolicyFileError: the file has none, or something is wrong with them.
    """
    file = PolicyFile(path)
    if "guards" not in file.sections:
        raise PolicyFileError(f"{path}: it has no guards; to remove all, write: guards: []")
    guards = tuple(file.read(entry, _GUARD) for entry in file.entries("guards"))
    try:
        return check_guards(guards)
    except ValueError as error:
        raise file.error(file.sections["guards"], "guards", str(error)) from None


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise PolicyFileError(f"cannot read {path}: {error.strerror}") from None
    if len(raw) > FILE_BYTES_MAX:
        raise PolicyFileError(f"{path}: it has {len(raw)} bytes; at most {FILE_BYTES_MAX} are read")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PolicyFileError(f"{path}: it is no UTF-8 (at byte {error.start + 1})") from None


def _inner(node: yaml.Node, place: Sequence[str | int]) -> yaml.Node:
    """The node at a place, or the nearest one around it that there is."""
    for part in place:
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next((value for key, value in node.value if key.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            found = node.value[part] if part < len(node.value) else None
        if found is None:
            return node
        node = found
    return node
