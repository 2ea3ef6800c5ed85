"""The map of the source tree in docs/architecture.md, made from what files say of themselves.

python -m tests.support.source_map     writes it (make map)
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "architecture.md"
PACKAGES: Final = (
    ROOT / "producers" / "stopline",
    ROOT / "worker" / "stopline_worker",
    ROOT / "worker" / "stopline_simulator",
)
BEGIN: Final = "<!-- map: begin (make map) -->\n"
_SCRIPTS: Final = "The scripts; files with an underscore are parts of others."
END: Final = "<!-- map: end -->\n"


def caption(path: Path) -> str:
    """The first sentence or line of a file: of its docstring, or of its comment in Lua."""
    text = path.read_text("utf-8")
    if path.suffix == ".lua":
        lines = [line.removeprefix("-- ") for line in text.splitlines() if line.startswith("-- ")]
        told = " ".join(one for one in lines if not one.startswith(("requires:", "flags:")))
        return re.split(r"(?<=[.])\s", told)[0]
    docstring = ast.get_docstring(ast.parse(text)) or ""
    return docstring.partition("\n")[0]


def files() -> Iterator[Path]:
    """Every file of the source tree that holds code."""
    for package in PACKAGES:
        yield from sorted(package.rglob("*.py"))
        yield from sorted(package.rglob("*.lua"))


def rooms() -> dict[Path, list[Path]]:
    """The files of each folder, without those that only say what the folder is."""
    found: dict[Path, list[Path]] = {}
    for path in files():
        here = found.setdefault(path.parent, [])
        if path.name != "__init__.py":
            here.append(path)
    return dict(sorted(found.items()))


def made() -> str:
    """The map."""
    parts = []
    for room, paths in rooms().items():
        about = room / "__init__.py"
        told = caption(about) if about.exists() else _SCRIPTS
        rows = [f"| `{path.name}` | {caption(path)} |" for path in paths]
        table = "\n".join(["| file | |", "|---|---|", *rows]) if rows else ""
        parts.append(f"### `{room.relative_to(ROOT)}/`\n\n{told}\n\n{table}".rstrip() + "\n")
    return "\n".join(parts)


def main() -> None:
    """Write the map into its page."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{made()}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
