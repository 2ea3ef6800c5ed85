"""How a form of the console is answered."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response


def back(place: str, **told: object) -> Response:
    """To a page that says what was done."""
    query = urlencode({name: str(value) for name, value in told.items()})
    return RedirectResponse(f"{place}?{query}" if query else place, 303)
