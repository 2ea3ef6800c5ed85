"""Looks at what is in deploy/, and at the compose file and the Dockerfile: `make check-deploy`.

The chart is linted, and rendered with its defaults and with every example; what comes out is
compared with the schemas of several versions of Kubernetes, and of KEDA. (Helm's lint passes over
`fail`, rendering over broken YAML, and kubernetes-validate over custom resources: hence all.)
"""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import pydantic
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm" / "stopline"
EXAMPLES = sorted((ROOT / "deploy" / "helm" / "examples").glob("*.yaml"))
VERSIONS = ("1.27", "1.31", "1.37")
BIN = Path(sys.executable).parent
_WARNING = 2


def lint(values: dict[str, Any]) -> list[str]:
    report = helm.lint(str(CHART), values, strict=True)
    told = [one["error"].strip() for one in report["messages"] if one["severity"] >= _WARNING]
    return [*report["errors"], *told]


def render(values: dict[str, Any]) -> list[dict[str, Any]]:
    with helm.Chart.load(str(CHART)) as chart:
        files = chart.render(values, name="demo", namespace="demo")
    yaml = YAML(typ="safe")  # unlike others it refuses a key that is there twice
    texts = [text for path, text in sorted(files.items()) if path.endswith(".yaml")]
    return [one for text in texts for one in yaml.load_all(text) if one]


def check_manifest(document: dict[str, Any]) -> list[str]:
    name = f"{document['kind']}/{document['metadata']['name']}"
    if document["apiVersion"].startswith("keda.sh/"):
        return [f"{name}: {one}" for one in _check_keda(document)]
    found = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            place = ".".join(map(str, error.path))
            found.append(f"{name} ({version}): {place}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError as error:
            found.append(f"{name} ({version}): {error.message}")
    return [*found, *(f"{name}: {one}" for one in _check_labels(document))]


def _check_labels(document: dict[str, Any]) -> list[str]:
    """What no schema says: a selector that does not mean its own pods."""
    spec = document.get("spec", {})
    if "template" not in spec:
        return []
    wanted = spec["selector"]["matchLabels"].items()
    return [] if wanted <= spec["template"]["metadata"]["labels"].items() else ["selector"]


def _check_keda(document: dict[str, Any]) -> list[str]:
    """The models take unknown keys, and lose them: so what they kept is compared."""
    try:
        model = ScaledObject.model_validate(copy.deepcopy(document))
    except pydantic.ValidationError as error:
        return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    kept = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    found = [f"unknown: {one}" for one in _lost(document, kept, "")]
    return found if document["spec"].get("triggers") else [*found, "it has no trigger"]


def _lost(given: Any, kept: Any, place: str) -> list[str]:
    if isinstance(given, dict) and isinstance(kept, dict):
        missing = [f"{place}.{key}" for key in given if key not in kept]
        inner = (_lost(given[key], kept[key], f"{place}.{key}") for key in given if key in kept)
        return missing + [one for some in inner for one in some]
    if isinstance(given, list) and isinstance(kept, list):
        pairs = zip(given, kept, strict=True)
        return [one for n, (a, b) in enumerate(pairs) for one in _lost(a, b, f"{place}[{n}]")]
    return [] if given == kept else [f"{place}: {given!r} became {kept!r}"]


def check_chart() -> list[str]:
    found = []
    for path in (None, *EXAMPLES):
        values = {} if path is None else helm.values_from_yaml(path.read_text())
        name = "defaults" if path is None else path.name
        problems = lint(values)
        if not problems:
            try:
                documents = render(values)
            except helm.HelmError as error:
                problems = [str(error)]
            else:
                problems = [one for document in documents for one in check_manifest(document)]
                print(f"helm, {name}: {len(documents)} manifests")
        found += [f"helm, {name}: {one}" for one in problems]
    return found + [f"helm: {one} is taken" for one in _refused() if not lint(one)]


def _refused() -> list[dict[str, Any]]:
    """Values that the schema must refuse."""
    return [
        {"gatewy": {}},
        {"workers": {"standard": {"lanes": ["urgent"], "replicas": 1, "concurrency": 1}}},
        {"redis": {"url": "redis://:hunter2@redis/0"}},
        {"settings": {"STOPLINE_API_TOKEN": "hunter2"}},
        {"outcomes": {"archive": {"url": "postgresql://u:hunter2@db/x"}}},
    ]


def check_others() -> list[str]:
    compose, dockerfile = ROOT / "docker-compose.yml", ROOT / "Dockerfile"
    commands = [
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(compose)],
        ["hadolint", "--no-color", str(dockerfile)],
        [
            "compose-lint",
            "check",
            "-q",
            "--fail-on",
            "low",
            "--no-env",
            "--no-merge-overrides",
            "--strict-config",
            "--config",
            str(ROOT / "deploy" / "compose-lint.yml"),
            str(compose),
        ],
    ]
    found = []
    for command in commands:
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:]], capture_output=True, text=True, check=False
        )
        print(f"{command[0]}: {'well' if done.returncode == 0 else 'not well'}")
        if done.returncode:
            found.append(f"{command[0]}: {done.stdout}{done.stderr}")
    return found


if __name__ == "__main__":
    problems = [*check_chart(), *check_others()]
    for one in problems:
        print(one, file=sys.stderr)
    sys.exit(bool(problems))
