"""The snippets of docs/gateway.md run, each where its tool is on the machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from stopline_gateway.keys import Scope
from tests.support.gateway import KeyRing

if TYPE_CHECKING:
    from tests.support.processes import Stack

_PAGE: Final = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text()
_SNIPPETS: Final = dict(
    re.findall(
        r"^```(\w+)\n(.*?)^```",
        _PAGE[_PAGE.index("## From other languages") : _PAGE.index("## Limits")],
        re.MULTILINE | re.DOTALL,
    )
)
_RUN: Final = {
    "bash": ("snippet.sh", ["bash", "snippet.sh"]),
    "python": ("snippet.py", [sys.executable, "snippet.py"]),
    "javascript": ("snippet.mjs", ["node", "snippet.mjs"]),
    "go": ("snippet.go", ["go", "run", "snippet.go"]),
    "java": ("Stop.java", ["java", "Stop.java"]),
    "php": ("snippet.php", ["php", "snippet.php"]),
}


@pytest.mark.parametrize("language", _RUN)
def test_a_snippet_stops_a_task(stack: Stack, language: str) -> None:
    name, command = _RUN[language]
    needed = "curl" if language == "bash" else command[0]
    if shutil.which(needed) is None:
        pytest.skip(f"there is no {needed} here")
    keys = KeyRing(stack.directory / "keys")
    key = keys.add("crm", Scope.STOP, Scope.READ)
    stack.api.start()
    stack.worker()
    gateway = stack.gateway(variables={"STOPLINE_GATEWAY_KEYS_FILE": str(keys.path)})
    (stack.directory / name).write_text(_SNIPPETS[language])
    environment = {"STOPLINE_URL": gateway.url, "STOPLINE_KEY": key, "HOME": str(stack.directory)}
    done = subprocess.run(
        command,
        cwd=stack.directory,
        env={**environment, "PATH": "/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert ("stopped" if language == "bash" else "accepted") in done.stdout
