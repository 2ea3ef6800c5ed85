"""Schemathesis against the OpenAPI document: all its checks, on a real gateway."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.support.gateway import KeyRing

if TYPE_CHECKING:
    from tests.support.processes import Stack

_PROGRAM: Final = Path(sys.executable).with_name("schemathesis")
_CONFIG: Final = Path(__file__).parents[1] / "support" / "schemathesis.toml"
_EXCLUDED: Final = "use_after_free,ensure_resource_availability"
"""DELETE cancels a request, and what became of it stays readable; of a batch without one line that
could be accepted there is nothing to be read."""
_EXAMPLES: Final = 25


def test_the_gateway_answers_as_its_document_says(stack: Stack) -> None:
    """No 5xx, no undocumented status or body, wrong input refused, right input taken."""
    stack.api.start()
    stack.worker()  # so that who waits gets an outcome
    keys = KeyRing(stack.directory / "keys")
    key = keys.add("test")
    gateway = stack.gateway(variables={"STOPLINE_GATEWAY_KEYS_FILE": str(keys.path)})
    command = [
        str(_PROGRAM),
        "--config-file",
        str(_CONFIG),
        "run",
        f"{gateway.url}/openapi.json",
        "--url",
        gateway.url,
    ]
    command += [
        "--checks",
        "all",
        "--exclude-checks",
        _EXCLUDED,
        "--max-examples",
        str(_EXAMPLES),
        "--seed",
        "20261126",
    ]
    command += [
        "--header",
        f"Authorization: Bearer {key}",
        "--generation-database",
        "none",
        "--workers",
        "2",
    ]
    command += ["--request-timeout", "70", "--exclude-path", "/v1/outcomes"]
    done = subprocess.run(
        command,
        cwd=_CONFIG.parents[2],
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks"},
        capture_output=True,
        check=False,
        text=True,
        timeout=170,
    )
    assert "Traceback" not in gateway.log, gateway.log[-6_000:]
    assert done.returncode == 0, done.stdout[-8_000:]
