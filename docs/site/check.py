"""Whether the site needs no network: what pages load is beside them, and search is there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

_LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*?\b(?:src|srcset)=[\"']?(https?:)?//[^\s\"'>]+"
    r"|<link\b[^>]*?rel=[\"']?(?:stylesheet|preconnect|preload|icon)[^>]*?href=[\"']?(https?:)?//[^\s\"'>]+"
)


def main(place: Path) -> int:
    """Look at every page; 1 where something is wrong."""
    wrong = [
        f"{page.relative_to(place)}: loads {found[0]}"
        for page in sorted(place.rglob("*.html"))
        for found in _LOADED.finditer(page.read_text("utf-8"))
    ]
    if not list(place.rglob("search_index.js*")):
        wrong.append("there is no index for the search")
    for one in wrong:
        sys.stderr.write(f"{one}\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
