"""Options that several commands share."""

from __future__ import annotations

import getpass
import os
import socket
from typing import Annotated

import typer

from stopline.contract import Actor


def operator() -> Actor:
    """Who sits at the command line, for the audit trail."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        name = str(os.getuid())
    return Actor(f"{name}@{socket.gethostname()}"[:200])


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
SubUserId = Annotated[str | None, typer.Option(help="The sub-user, where the target has one.")]
By = Annotated[str, typer.Option(help="Who does this; the record keeps it.")]
ByOperator = Annotated[str | None, typer.Option("--by", help="Who does this; you if left out.")]
TimeoutS = Annotated[
    float | None, typer.Option("--timeout", min=0, help="Seconds to wait at the most.")
]
