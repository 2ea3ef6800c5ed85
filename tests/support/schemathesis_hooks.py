"""For schemathesis: how bodies are written that are neither JSON nor forms."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson", "text/csv")
def as_text(_context: Any, value: Any) -> bytes:
    """The schema of these bodies is a text."""
    return str(value).encode("utf-8", "replace")
