"""Alert rules, dashboard and docs speak of the metrics that there are; each rule is tried."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from stopline.contract import Beat, BridgeState, Guard, ProcessRole
from stopline.ledger.limits import Limits
from stopline.testing import World
from tests.support.gateway import Desk

_ROOT = Path(__file__).parents[2]
_RULES = _ROOT / "deploy" / "prometheus" / "alerts.yaml"
_DASHBOARD = _ROOT / "deploy" / "grafana" / "stopline.json"
_DOCS = _ROOT / "docs" / "monitoring.md"
_NAME = re.compile(r"\bstopline_\w+")


@pytest.fixture(scope="module")
def exposition() -> str:
    """The metrics of a deployment that has something of everything."""
    with Desk(World(Limits(counts=True))) as desk:
        desk.stop()
        desk.world.work()
        bridge = BridgeState(source="s", position=None, lag=3, received=1, quarantined=0)
        said = Beat(
            process_id="p", role=ProcessRole.BRIDGE, host="h", pid=1, lanes=(), bridge=bridge
        )
        desk.run(desk.services.client.beat(said))
        desk.run(desk.services.client.guards.apply([Guard(source="s", dry_run=True)]))
        text = desk.call("GET", "/metrics").text
    # A Redis in memory does not tell what it uses; and no sink is open here.
    others = (
        "stopline_ledger_memory_bytes",
        "stopline_ledger_memory_max_bytes",
        "stopline_sink_oldest_seconds",
    )
    kept = [line for line in text.splitlines() if not line.endswith(others)]
    told = [line for line in kept if not any(f" {name} " in line for name in others)]
    samples = [f"# HELP {name} x\n# TYPE {name} gauge\n{name} 1\n" for name in others]
    return "\n".join(told) + "\n" + "".join(samples)


@pytest.fixture(scope="module")
def names(exposition: str) -> set[str]:
    return {
        one.name for family in text_string_to_metric_families(exposition) for one in family.samples
    }


def _rules() -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = yaml.safe_load(_RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _queries() -> list[str]:
    dashboard = orjson.loads(_DASHBOARD.read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_rules_and_dashboard_speak_of_metrics_that_there_are(names: set[str]) -> None:
    for query in [*(rule["expr"] for rule in _rules()), *_queries()]:
        assert set(_NAME.findall(query)) <= names, query


def test_the_docs_name_every_metric(exposition: str) -> None:
    page = _DOCS.read_text()
    told = set(_NAME.findall(page[page.index("| metric | what |") :]))
    found = {
        family.name + "_total" * (family.type == "counter") + "_info" * (family.type == "info")
        for family in text_string_to_metric_families(exposition)
    }
    assert told == {name.removesuffix("_info_info") for name in found} - {"stopline_build"} | {
        "stopline_build_info"
    }


def test_every_rule_is_tried() -> None:
    tried = yaml.safe_load(_RULES.with_name("alerts.test.yaml").read_text())["tests"]
    fired = {
        one["alertname"] for test in tried for one in test["alert_rule_test"] if one["exp_alerts"]
    }
    quiet = {
        one["alertname"]
        for test in tried
        for one in test["alert_rule_test"]
        if not one["exp_alerts"]
    }
    assert fired == quiet == {rule["alert"] for rule in _rules()}
    for rule in _rules():
        assert {"summary", "description"} <= set(rule["annotations"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool here")
def test_prometheus_agrees(exposition: str) -> None:
    for arguments in (
        ["check", "rules", _RULES.name],
        ["test", "rules", "alerts.test.yaml"],
        ["check", "metrics"],
    ):
        done = subprocess.run(
            ["promtool", *arguments],
            cwd=_RULES.parent,
            input=exposition,
            capture_output=True,
            check=False,
            text=True,
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
