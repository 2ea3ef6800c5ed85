"""What is built holds all of the code, and works where no checkout is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

import httpx
import pytest

from tests.conftest import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.package, pytest.mark.timeout(600)]

_CHECKOUT: Final = Path(__file__).parents[2]
_TARGET: Final = {"user_id": "'u'", "task_id": "'t'"}
_SOURCES: Final = ("producers", "worker")


def _run(*command: str | Path, cwd: Path, ok: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command that sees neither the checkout nor settings of whoever runs the tests."""
    given = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=given | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not ok or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist of what git tracks, and the wheel that is built from it."""
    copy, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    for name in _tracked("."):
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((_CHECKOUT / name).read_bytes())
    _run(sys.executable, "-m", "build", "--outdir", out, copy, cwd=out)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def _tracked(*places: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *places], cwd=_CHECKOUT, capture_output=True, check=True
    )
    names = listed.stdout.decode().split("\0")
    return [name for name in names if name and (_CHECKOUT / name).is_file()]


class Installed:
    """An environment of its own with the wheel in it."""

    def __init__(self, directory: Path, wheel: Path, extras: str = "") -> None:
        self.directory = directory
        self._bin = directory / "venv" / "bin"
        _run(sys.executable, "-m", "venv", directory / "venv", cwd=directory)
        pip = (self._bin / "python", "-m", "pip", "install", "--quiet", "--no-input")
        pins = _CHECKOUT / "constraints.txt"
        _run(*pip, "--disable-pip-version-check", "-c", pins, f"{wheel}{extras}", cwd=directory)

    def stopline(self, *arguments: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command that was installed."""
        return _run(self._bin / "stopline", *arguments, cwd=self.directory, ok=ok)

    @contextmanager
    def up(self) -> Iterator[str]:
        """`stopline up`; the gateway's address."""
        url = f"http://127.0.0.1:{free_port()}"
        settings = {
            "STOPLINE_API_URL": f"http://127.0.0.1:{free_port()}",  # nobody is there
            "STOPLINE_API_TOKEN": "secret",
            "STOPLINE_GATEWAY_PORT": url.rpartition(":")[2],
        }
        with (self.directory / "up.log").open("wb") as log:
            process = subprocess.Popen(
                [self._bin / "stopline", "up", "--concurrency", "1"],
                cwd=self.directory,
                env=os.environ | settings,
                stdout=log,
                stderr=log,
            )
            try:
                yield url
            finally:
                process.terminate()
                process.wait(60)

    def python(self, code: str) -> str:
        """What some code prints."""
        return _run(self._bin / "python", "-c", code, cwd=self.directory).stdout


@pytest.fixture(scope="module")
def producer(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """No extra: what a service installs that only sends."""
    return Installed(tmp_path_factory.mktemp("producer"), built[1])


@pytest.fixture(scope="module")
def service(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """What README installs: workers and gateway, and nothing for events."""
    return Installed(tmp_path_factory.mktemp("service"), built[1], "[worker,gateway]")


@pytest.fixture(scope="module")
def whole(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """All that runs: workers, gateway, bridge."""
    return Installed(tmp_path_factory.mktemp("whole"), built[1], "[worker,gateway,events]")


def _in_sources(names: list[str]) -> Iterator[str]:
    for name in names:
        yield name.partition("/")[2]


def test_the_wheel_holds_each_file_of_the_code_and_no_other(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == set(_in_sources(_tracked(*_SOURCES)))


def test_the_sdist_holds_code_licence_and_readme(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as sdist:
        packed = {name.partition("/")[2] for name in sdist.getnames()}
    assert packed >= {*_tracked(*_SOURCES), "LICENSE", "README.md", "pyproject.toml"}


def test_the_version_is_one(built: tuple[Path, Path], producer: Installed) -> None:
    version = producer.stopline("--version").stdout.split()[-1]
    assert built[1].name.startswith(f"stopline-{version}-")
    assert built[0].name == f"stopline-{version}.tar.gz"
    assert producer.python("import stopline; print(stopline.__version__)").strip() == version


def test_a_producer_needs_no_extra(producer: Installed) -> None:
    assert (
        producer.python("import stopline; [getattr(stopline, n) for n in stopline.__all__]") == ""
    )
    away = producer.stopline("health", ok=False)
    assert away.returncode == 3, away.stderr


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("worker",), "worker"),
        (("up",), "worker"),
        (("demo",), "worker"),
        (("simulate-api",), "worker"),
        (("gateway",), "gateway"),
        (("bridge", "nats", "stops"), "events"),
        (("policy", "check", "rules.yaml"), "events"),
    ],
)
def test_a_command_without_its_extra_names_it(
    producer: Installed, command: tuple[str, ...], extra: str
) -> None:
    (producer.directory / "rules.yaml").write_text("rules: []\n")
    told = producer.stopline(*command, ok=False)
    assert told.returncode == 2, told.stdout + told.stderr
    assert f"the extra '{extra}'" in told.stderr.replace("\n", " "), told.stderr
    assert "Traceback" not in told.stderr


def test_workers_and_gateway_need_no_packages_for_events(service: Installed) -> None:
    outcomes = {one["outcome"] for one in json.loads(service.stopline("demo", "--json").stdout)}
    assert "stopped" in outcomes
    with service.up() as url:
        wait_until(lambda: _status(f"{url}/readyz") == 200, limit_s=60)
        page = httpx.get(f"{url}/console/", follow_redirects=True)
        assets = re.findall(r'(?:src|href)="([^"]+\.(?:js|css|svg)[^"]*)"', page.text)
        assert {_status(urljoin(str(page.url), asset)) for asset in assets} == {200}


def _status(url: str) -> int | None:
    try:
        return httpx.get(url).status_code
    except httpx.TransportError:
        return None


def test_rules_are_checked_as_installed(whole: Installed) -> None:
    rule = {"name": "over", "when": "event.type == 'over'", "stop": _TARGET}
    (whole.directory / "rules.yaml").write_text(json.dumps({"rules": [rule]}))  # JSON is YAML
    told = whole.stopline("policy", "check", "rules.yaml", "--json")
    assert json.loads(told.stdout)["rules"] == 1
