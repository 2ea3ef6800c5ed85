"""The compose file: what it runs is what `stopline up` runs, safely."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stopline.cli import COMMANDS
from stopline.cli.supervisor import stopline_command
from stopline.cli.workers import start_gateway, start_outcomes, start_workers
from stopline.contract import Lane
from stopline.settings.model import Settings
from stopline.settings.names import FIELDS, PREFIX, Family
from stopline_archive.settings import ArchiveSettings
from stopline_events.policy import PolicySettings
from stopline_events.settings import BridgeSettings
from stopline_gateway.settings import GatewaySettings
from stopline_outcomes.settings import CallbackSettings, SinkSettings

ROOT = Path(__file__).parents[2]
_OURS = ("worker", "worker-emergency", "gateway", "outcomes")
_CLASSES = (
    Settings,
    ArchiveSettings,
    BridgeSettings,
    CallbackSettings,
    GatewaySettings,
    PolicySettings,
    SinkSettings,
)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_there_is_a_redis_and_a_worker_for_each_group_of_lanes(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {*_OURS, "redis", "postgres"}


def test_containers_run_what_up_runs(compose: dict[str, Any]) -> None:
    class Recorder:
        def __init__(self) -> None:
            self.commands: list[list[str]] = []

        def add(self, _name: str, command: list[str], **_: object) -> None:
            self.commands.append(command)

    recorder = Recorder()
    start_workers(recorder, None, "info")  # type: ignore[arg-type]  # a stand-in
    start_gateway(recorder)  # type: ignore[arg-type]
    start_outcomes(recorder)  # type: ignore[arg-type]
    services = compose["services"]
    contained = [services[name]["command"] for name in _OURS]
    assert [stopline_command(*command) for command in contained] == recorder.commands


@pytest.mark.parametrize("name", [*_OURS, "redis", "postgres"])
def test_each_container_has_no_rights_and_looks_after_itself(
    compose: dict[str, Any], name: str
) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service["user"].startswith("0")
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"mem_limit", "cpus", "pids_limit"} <= set(service)


def test_redis_keeps_what_it_is_given(compose: dict[str, Any]) -> None:
    redis = compose["services"]["redis"]
    command = redis["command"][-1]
    for words in ("--appendonly yes", "--maxmemory-policy noeviction", "--dir /data"):
        assert words in command
    assert redis["image"] == "redis:8"
    assert redis["volumes"] == ["redis-data:/data"]
    assert "ports" not in redis


def test_secrets_come_from_files_only(compose: dict[str, Any]) -> None:
    assert {one["file"] for one in compose["secrets"].values()} == {
        "./secrets/api_token",
        "./secrets/redis_password",
        "./secrets/gateway_keys",
        "./secrets/archive_password",
    }
    for service in compose["services"].values():
        for name, value in service["environment"].items():
            secret = "TOKEN" in name or "PASSWORD" in name
            assert not secret or (name.endswith("_FILE") and value.startswith("/run/secrets/"))
            assert "@" not in value or value == "postgresql://stopline@postgres/archive"


def _known_variables() -> set[str]:
    prefixes = {one: one.model_config.get("env_prefix", "STOPLINE_") for one in _CLASSES}
    return {f"{prefixes[one]}{name.upper()}" for one in _CLASSES for name in one.model_fields}


@pytest.mark.parametrize(
    "file",
    [
        "docker-compose.yml",
        *sorted(
            str(path.relative_to(ROOT))
            for path in (ROOT / "deploy").rglob("*")
            if path.suffix in {".yaml", ".tpl", ".json", ".service", ".env", ".conf"}
        ),
    ],
)
def test_every_variable_that_is_named_there_is_a_setting(file: str) -> None:
    text = (ROOT / file).read_text()
    named = set(re.findall(r"\bSTOPLINE_[A-Z0-9_]+[A-Z0-9]\b", text))
    own = {"STOPLINE_REDIS_MAXMEMORY", "STOPLINE_REDIS_MEMORY_LIMIT"}  # the compose file's
    prefixes = {one.rstrip("_") for one in ("STOPLINE_GATEWAY", "STOPLINE_API")}
    assert named - own - prefixes <= _known_variables() | {"STOPLINE_API_TOKEN"}


@pytest.mark.parametrize("unit", sorted((ROOT / "deploy" / "systemd").glob("*.service")))
def test_units_run_commands_that_there_are_and_have_no_rights(unit: Path) -> None:
    text = unit.read_text()
    command = re.search(r"/opt/stopline/bin/stopline ([a-z]+)", text)
    assert command is not None
    assert command[1] in COMMANDS
    for words in ("NoNewPrivileges=true", "ProtectSystem=strict", "CapabilityBoundingSet=\n"):
        assert words in text
    assert re.search(r"TimeoutStopSec=(\d+)", text)[1] == "45"  # type: ignore[index]
    assert not re.search(r"(TOKEN|PASSWORD)=", text)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
@pytest.mark.parametrize("unit", sorted((ROOT / "deploy" / "systemd").glob("*.service")))
def test_systemd_understands_the_units(unit: Path, tmp_path: Path) -> None:
    name = unit.name.replace("@.", "@emergency.")
    (tmp_path / name).write_text(
        unit.read_text().replace("/opt/stopline/bin/stopline", "/bin/true")
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if name in line]
    assert not ours, ours


@pytest.mark.skipif(shutil.which("nginx") is None, reason="there is no nginx")
def test_nginx_understands_its_file(tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "nginx" / "stopline.conf").read_text()
    made = f"-keyout {tmp_path}/privkey.pem -out {tmp_path}/fullchain.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=t {made}"
    subprocess.run(command.split(), capture_output=True, check=True)
    (tmp_path / "site.conf").write_text(text.replace("/etc/ssl/stopline", str(tmp_path)))
    whole = tmp_path / "nginx.conf"
    whole.write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{}}\n"
        f"http {{ access_log off; include {tmp_path}/site.conf; }}\n"
    )
    done = subprocess.run(
        ["nginx", "-t", "-c", str(whole)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_gateway_is_on_the_hosts_loopback_and_asks_for_keys(compose: dict[str, Any]) -> None:
    gateway = compose["services"]["gateway"]
    assert gateway["ports"] == ["127.0.0.1:8077:8077"]
    assert gateway["environment"]["STOPLINE_GATEWAY_KEYS_FILE"] == "/run/secrets/gateway_keys"
    assert "api_token" not in gateway["secrets"]
    assert "/readyz" in gateway["healthcheck"]["test"][-1]


def test_a_container_is_given_longer_than_its_calls(compose: dict[str, Any]) -> None:
    grace = compose["services"]["worker"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > Settings.load().drain_s + 10


def test_the_image_is_built_in_two_stages_and_runs_without_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert sum(line.startswith("FROM ") for line in lines) == 2
    assert lines.index("USER 10001:10001") > max(
        index for index, line in enumerate(lines) if line.startswith("RUN ")
    )


def test_readme_and_docs_list_every_command_and_setting() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 150
    for command in COMMANDS:
        assert f"`{command}" in readme, command
    library, gateway = (ROOT / "docs" / "settings.md").read_text().split("## Gateway")
    bridge = (ROOT / "docs" / "events.md").read_text()
    for fields, text in (
        (Settings.model_fields, library),
        (ArchiveSettings.model_fields, library),
        (SinkSettings.model_fields, library),
        (CallbackSettings.model_fields, library),
        (GatewaySettings.model_fields, gateway),
        (BridgeSettings.model_fields, bridge),
    ):
        for name in fields:
            assert f"`{name.upper()}`" in text, name


def test_a_service_s_settings_are_not_unknown_to_the_library() -> None:
    family = Family(PREFIX, FIELDS)
    for kind in _CLASSES[1:]:
        for name in kind.model_fields:
            variable = f"{kind.model_config['env_prefix']}{name.upper()}"
            assert not family.is_ours(variable), variable


def test_the_lanes_of_a_unit_are_lanes(tmp_path: Path) -> None:
    unit = (ROOT / "deploy/systemd/stopline-worker@.service").read_text()
    (command,) = re.findall(r"^ExecStart=/bin/sh -c '(.*)'$", unit, re.MULTILINE)
    told = tmp_path / "told"
    program = tmp_path / "stopline"
    program.write_text(f'#!/bin/sh\necho "$@" >{told}\n')
    program.chmod(0o755)
    guide = (ROOT / "docs" / "deploying.md").read_text()
    instances = re.findall(r"stopline-worker@(\S+)", guide)
    assert instances
    for instance in instances:
        assert re.fullmatch(r"[A-Za-z0-9:_.-]+", instance), "systemd would escape it"
        line = command.replace("/opt/stopline/bin/stopline", str(program))
        line = line.replace("%%", "%").replace("%i", instance)
        subprocess.run(["/bin/sh", "-c", line], check=True)  # the unit's own line
        lanes = told.read_text().split("--lane")[1:]
        assert {Lane(one.strip()) for one in lanes}
