"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
SubUserId = Annotated[str | None, typer.Option(help="The sub-user, where the target has one.")]
By = Annotated[str, typer.Option(help="Who does this; the record keeps it.")]
TimeoutS = Annotated[
    float | None, typer.Option("--timeout", min=0, help="Seconds to wait at the most.")
]
