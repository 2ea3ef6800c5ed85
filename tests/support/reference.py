"""Writes docs/reference/: every command, every call of the gateway; `make reference`.

A test compares the pages with what is made here, so they cannot drift.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from stopline.cli import COMMANDS
from stopline.cli.lazy import LazyCommand
from stopline.testing import AsyncFakeStopClient, World
from stopline_gateway.app import make_app
from stopline_gateway.services import Services
from stopline_gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE: Final = Path(__file__).parents[2] / "docs" / "reference"
_MADE: Final = "<!-- made by `make reference`; a test compares it with the code -->\n\n"


def commands() -> str:
    """The page of the command line."""
    parts = [f"# Commands\n\n{_MADE}`stopline COMMAND --help` tells the same.\n"]
    for name, (place, summary) in COMMANDS.items():
        command = LazyCommand(name, place, summary).loaded()
        parts += [f"\n## {name}\n\n{summary}\n", *_command(f"stopline {name}", command)]
    return "".join(parts)


def _command(path: str, command: Any) -> Iterator[str]:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield f"\n### {path.removeprefix('stopline ')} {name}\n\n{_sentence(inner.help)}\n"
            yield from _command(f"{path} {name}", inner)
        return
    with typer.Context(command) as context:
        usage = " ".join(command.collect_usage_pieces(context))
        yield f"\n```\n{path} {usage}\n```\n"
        rows = [one for one in command.params if "--help" not in one.opts]
        if rows:
            yield "\n| option | |\n|---|---|\n"
        for one in rows:
            yield f"| {_names(one)} | {_text(one, context)} |\n"


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.make_metavar(typer.Context(typer.core.TyperCommand('x')))}`"
    value = "" if parameter.is_flag else f" {parameter.human_readable_name.upper()}"
    return f"`{', '.join([*parameter.opts, *parameter.secondary_opts])}{value}`"


def _text(parameter: Any, context: typer.Context) -> str:
    text = (getattr(parameter, "help", None) or "").replace("|", "\\|")
    if (choices := getattr(parameter.type, "choices", None)) is not None:
        text += f" One of {', '.join(str(getattr(one, 'value', one)) for one in choices)}."
    default = parameter.get_default(context)
    is_told = default not in {None, False, ()} if isinstance(default, (str, int, float)) else False
    return text + (f" Default: {getattr(default, 'value', default)}." if is_told else "")


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())


def calls() -> str:
    """The page of the gateway's calls, from its OpenAPI document."""
    services = Services.of(
        AsyncFakeStopClient(World()),
        GatewaySettings.load(),
        keeps_outcomes=True,
        call_timeout_s=20,
    )
    document = make_app(services).openapi()
    parts = [f"# Calls of the gateway\n\n{_MADE}"]
    parts.append("Bodies and replies in full are at `/openapi.json` and `/docs` of a gateway.\n")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(f"\n## {method.upper()} {path}\n\n{operation['summary']}.")
            parts.append(f" {_sentence(operation.get('description'))}\n")
            parts += _parameters(operation)
            parts.append(f"\nAnswers: {', '.join(map(_answer, operation['responses'].items()))}.\n")
    return "".join(parts)


def _parameters(operation: dict[str, Any]) -> Iterator[str]:
    found = operation.get("parameters", [])
    if found:
        yield "\n| parameter | in | |\n|---|---|---|\n"
    for one in found:
        text = _sentence(one.get("description")).replace("|", "\\|")
        yield f"| `{one['name']}` | {one['in']} | {text} |\n"


def _answer(item: tuple[str, dict[str, Any]]) -> str:
    status, reply = item
    return f"{status} ({_sentence(reply['description']).rstrip('.').lower()})"


PAGES: Final = {"commands.md": commands, "calls.md": calls}


def main() -> int:
    """Write both."""
    PLACE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (PLACE / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
