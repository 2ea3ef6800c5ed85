"""The peers' environments: one for each, because their pins clash. Made once, under `.bench/`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.benchmarks.contestants import ENVIRONMENTS, HERE, NODE_DIRECTORY

if TYPE_CHECKING:
    from pathlib import Path


def install(library: str) -> None:
    """Make the environment of a Python peer, unless it is there."""
    requirements = HERE / "requirements" / f"{library}.txt"
    environment = ENVIRONMENTS / library
    installed = environment / ".installed"
    if _is_newer(installed, requirements):
        return
    sys.stderr.write(f"installing {library}\n")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--disable-pip-version-check", "-r", str(requirements)], check=True)
    installed.touch()


def install_node() -> bool:
    """Install the Node peer, unless it is there; whether this machine has Node."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return False
    NODE_DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "peer.mjs"):
        shutil.copy(HERE / "bullmq" / name, NODE_DIRECTORY)
    if not (NODE_DIRECTORY / "node_modules").exists():
        sys.stderr.write("installing bullmq\n")
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"]
        subprocess.run(command, cwd=NODE_DIRECTORY, check=True)
    return True


def _is_newer(made: Path, source: Path) -> bool:
    return made.exists() and made.stat().st_mtime >= source.stat().st_mtime
