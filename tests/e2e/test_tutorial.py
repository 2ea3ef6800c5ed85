"""The tutorial: every command in it is run, in its order, in one shell."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import free_port

_ROOT: Final = Path(__file__).parents[2]
_BLOCKS: Final = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXPECTED: Final = (
    "duplicate",
    "superseded",
    "over budget",
    "10000 report.csv",
    '"outcome":"stopped"',
    "user-1/task-1",
    "wait, was this the right list?",
)


def test_every_command_of_the_tutorial_works_in_its_order(tmp_path: Path) -> None:
    blocks = _BLOCKS.findall((_ROOT / "docs" / "tutorial.md").read_text())
    assert blocks[0].startswith("pip install")  # that is how this environment was made
    script = "set -euo pipefail\nset -m\n" + "".join(blocks[1:])
    ports = {"8900": str(free_port()), "8077": str(free_port())}
    for port, free in ports.items():
        script = script.replace(port, free)
    given = {name: one for name, one in os.environ.items() if not name.startswith("STOPLINE_")}
    process = subprocess.Popen(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=given
        | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "STOPLINE_GATEWAY_PORT": ports["8077"],
            "COLUMNS": "100",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=110)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        pytest.fail(f"the tutorial did not end: {output.decode()[-3000:]}")
    told = output.decode()
    assert process.returncode in {0, 143}, told[-3000:]
    for words in _EXPECTED:
        assert words in told or words.replace("10000", "10001") in told, (words, told[-3000:])
