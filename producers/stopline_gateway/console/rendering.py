"""From templates to pages: everything that came from outside is text, whatever is in it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from stopline.contract import DEAD_OUTCOMES, OutcomeKind, rfc3339
from stopline.texts import duration_text, shown

ASSETS: Final = {
    "htmx.min.js": "text/javascript",
    "hx-sse.min.js": "text/javascript",
    "uPlot.iife.min.js": "text/javascript",
    "console.js": "text/javascript",
    "uPlot.min.css": "text/css",
    "console.css": "text/css",
    "icon.svg": "image/svg+xml",
}
"""The files that pages load, and what they are."""
_NONE: Final = "\N{EN DASH}"


def _version() -> str:
    """What changes with any of the files: a browser may keep them for as long as it is the same."""
    digest = hashlib.sha256()
    for name in ASSETS:
        digest.update(resources.files(__package__).joinpath("assets", name).read_bytes())
    return digest.hexdigest()[:12]


ASSETS_VERSION: Final = _version()


def _finalize(value: object) -> object:
    """What each expression of a template comes to, before it is escaped."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return ""
    return shown(value) if isinstance(value, str) else value


# What a form sends back must be what it was given: `as_it_is` escapes, and writes nothing out.


def _moment(at: datetime | None) -> Markup:
    """A time, which the page's script puts into the viewer's zone; UTC stays as its title."""
    if at is None:
        return escape(_NONE)
    utc = at.astimezone(UTC)
    text = f"{utc:%Y-%m-%d %H:%M:%S}"
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(rfc3339(utc), text, text)


def _duration(seconds: float | None) -> str:
    return _NONE if seconds is None else duration_text(seconds)


def _number(value: float | None) -> str:
    if value is None:
        return _NONE
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("stopline_gateway.console"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_finalize,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.globals["assets_version"] = ASSETS_VERSION
_ENVIRONMENT.globals["dead_outcomes"] = tuple(one for one in OutcomeKind if one in DEAD_OUTCOMES)
_ENVIRONMENT.filters["as_it_is"] = escape
_ENVIRONMENT.filters.update(moment=_moment, duration=_duration, number=_number)


def render(template: str, **values: Any) -> str:
    """A page, or a part of one."""
    return _ENVIRONMENT.get_template(template).render(**values)


def fragment(template: str, **values: Any) -> Markup:
    """A part that goes into another template."""
    return Markup(render(template, **values))  # noqa: S704  # its values are escaped already
