"""The OpenAPI document: FastAPI's, and the schemas of bodies that routes read themselves."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Final

from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from stopline.contract import StopRequest
from stopline_gateway.documents import (
    BatchPauseRequest,
    BatchRedriveRequest,
    GuardRules,
    Holds,
    LanePauseRequest,
    Letters,
    ProblemDocument,
    ResumeRequest,
)

if TYPE_CHECKING:
    from fastapi import FastAPI
    from pydantic import BaseModel

_READ_BY_ROUTES: Final[tuple[type[BaseModel], ...]] = (
    StopRequest,
    ResumeRequest,
    BatchPauseRequest,
    BatchRedriveRequest,
    LanePauseRequest,
    GuardRules,
    Holds,
    Letters,
    ProblemDocument,
)
_TEMPLATE: Final = "#/components/schemas/{model}"
_SECURITY: Final = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key of `stopline gateway key new`.",
    }
}
_OPEN: Final = frozenset({"/livez", "/readyz"})


def make(app: FastAPI) -> dict[str, Any]:
    """The document of an app."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    _, schemas = models_json_schema(
        [(model, "validation") for model in _READ_BY_ROUTES], ref_template=_TEMPLATE
    )
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(schemas["$defs"])
    components["securitySchemes"] = _SECURITY
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path not in _OPEN:
                operation["security"] = [{"key": []}]
            _drop_fastapis_422(operation)
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    return document


def _drop_fastapis_422(operation: dict[str, Any]) -> None:
    """FastAPI's own answer to wrong parameters, where a route has none that could be wrong."""
    if "HTTPValidationError" in str(operation["responses"].get("422")):
        del operation["responses"]["422"]


_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{background:#8882;padding:.1em .3em;border-radius:3px}h2{margin-top:2.5rem}"
    "dt{font-weight:600;margin-top:.6rem}:root{color-scheme:light dark}"
)


def page(document: dict[str, Any]) -> str:
    """The document for people, without anything from elsewhere."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'>",
        f"<title>{_text(document['info']['title'])}</title><style>{_STYLE}</style>",
        f"<h1>{_text(document['info']['title'])}</h1>",
        "<p>For programs: <a href=/openapi.json>/openapi.json</a>.</p>",
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts += _operation(path, method, operation)
    return "".join(parts)


def _operation(path: str, method: str, operation: dict[str, Any]) -> list[str]:
    rows = [
        (f"{one['name']} ({one['in']})", one.get("description", ""))
        for one in operation.get("parameters", ())
    ]
    bodies = operation.get("requestBody", {}).get("content", {})
    rows += [("body", " or ".join(bodies))] if bodies else []
    rows += [(status, one["description"]) for status, one in operation["responses"].items()]
    facts = "".join(f"<dt>{_text(name)}<dd>{_text(text)}" for name, text in rows)
    return [
        f"<h2 id={_text(operation['operationId'])}>{_text(operation['summary'])}</h2>",
        f"<p><code>{method.upper()} {_text(path)}</code></p>",
        f"<p>{_text(operation.get('description', ''))}</p><dl>{facts}</dl>",
    ]


def _text(text: object) -> str:
    return html.escape(str(text))
