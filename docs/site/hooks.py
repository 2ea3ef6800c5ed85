"""For the site: README is its first page, and links that leave docs/ lead to copies of those files.

Material's offline plugin still loads one script from elsewhere; a copy of it is here.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
_SHIM = re.compile(r"https://unpkg\.com/iframe-worker/shim")
_OUTSIDE = re.compile(r"\]\(\.\./(?!docs/)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add README as `index.md`, with links as seen from docs/."""
    text = (ROOT / "README.md").read_text("utf-8")
    text = re.sub(r"(\]\(|\]: |srcset=\"|src=\")docs/", r"\1", text)
    text = re.sub(r"(\]\(|\]: )CHANGELOG\.md", r"\1files/CHANGELOG.md", text)
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links out of docs/ lead to copies of those files."""
    up = "../" * page.file.src_uri.count("/")
    return _OUTSIDE.sub(lambda one: f"]({up}files/{one[1]}{one[2] or ''})", markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Load the script that is here."""
    up = "../" * page.file.dest_uri.count("/")
    return _SHIM.sub(f"{up}assets/iframe-worker.js", output)


def on_post_build(config: Any) -> None:
    """Copy what pages link to and docs/ does not have."""
    site = Path(config["site_dir"])
    shutil.copy(ROOT / "docs" / "site" / "assets" / "iframe-worker.js", site / "assets")
    missing = site / "404.html"
    missing.write_text(_SHIM.sub("assets/iframe-worker.js", missing.read_text("utf-8")), "utf-8")
    place = Path(config["site_dir"]) / "files"
    for name in ("CHANGELOG.md", "deploy", "tests", "docker-compose.yml"):
        source, target = ROOT / name, place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
