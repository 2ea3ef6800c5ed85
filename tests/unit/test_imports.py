"""What loading a part loads with it: counted, not timed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import stopline
from stopline.cli import COMMANDS
from stopline.cli.lazy import LazyCommand

_HEAVY = {"celery", "kombu", "redis", "amqp", "httpx", "structlog"}


def _loaded(code: str) -> set[str]:
    """The top-level names that a fresh interpreter has loaded after some code."""
    told = "print('|'.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\n{told}"],
        capture_output=True,
        check=True,
        text=True,
    )
    return set(done.stdout.splitlines()[-1].split("|"))


def test_the_contract_needs_neither_celery_nor_redis() -> None:
    assert not _loaded("import stopline.contract") & _HEAVY


def test_the_package_loads_what_is_asked_for() -> None:
    assert not _loaded("from stopline import StopRequest, UnavailableError") & _HEAVY
    assert "celery" in _loaded("from stopline import StopClient; StopClient")


@pytest.mark.parametrize("argument", ["--help", "-h", "--version"])
def test_help_loads_no_command(argument: str) -> None:
    code = (
        f"sys.argv = ['stopline', {argument!r}]\n"
        "from stopline.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code"
    )
    assert not _loaded(code) & (_HEAVY | {"pydantic", "orjson"})


def test_every_exported_name_is_there() -> None:
    for name in stopline.__all__:
        assert getattr(stopline, name) is not None
    assert set(stopline.__all__) == set(dir(stopline))
    with pytest.raises(AttributeError, match="no attribute 'StopClent'"):
        stopline.StopClent  # noqa: B018  # a misspelt name


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_is_that_in_the_list(name: str) -> None:
    place, summary = COMMANDS[name]
    command = LazyCommand(name, place, summary).loaded()
    assert command.help.splitlines()[0] == summary
