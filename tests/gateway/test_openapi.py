"""The OpenAPI document: every route is in it, and what the gateway answers is what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from stopline.contract import BatchLine, Outcome, StopRequest
from stopline_gateway import problems
from stopline_gateway.documents import (
    BatchReply,
    Letters,
    ProblemDocument,
    ReceiptDocument,
    ResumeRequest,
)
from stopline_gateway.keys import Scope

if TYPE_CHECKING:
    from tests.support.gateway import Desk

_DOCS = Path(__file__).parents[2] / "docs" / "gateway.md"


@pytest.fixture
def document(desk: Desk) -> dict[str, Any]:
    found: dict[str, Any] = desk.call("GET", "/openapi.json").json()
    return found


def test_every_operation_has_an_id_a_summary_and_its_problems(document: dict[str, Any]) -> None:
    ids = []
    for path, operations in document["paths"].items():
        for operation in operations.values():
            ids.append(operation["operationId"])
            assert operation["summary"]
            if path.startswith("/v1/"):
                assert operation["security"] == [{"key": []}], path
                assert {"401", "403", "429", "500", "503"} <= set(operation["responses"]), path
    assert len(set(ids)) == len(ids) >= 14


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    names = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert names <= set(document["components"]["schemas"])
    assert {"StopRequest", "Outcome", "ProblemDocument", "ReceiptDocument"} <= names


def test_bodies_have_examples_that_are_taken(desk: Desk, document: dict[str, Any]) -> None:
    tried = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
                example = body.get("example")
                if example is None:
                    continue
                sent = {"content": example} if isinstance(example, str) else {"json": example}
                reply = desk.call(method, path, headers={"Content-Type": media_type}, **sent)
                assert reply.status_code < 300, (path, media_type, reply.text)
                tried += 1
    assert tried >= 5


def test_the_page_needs_nothing_from_elsewhere(desk: Desk) -> None:
    reply = desk.call("GET", "/docs")
    assert "createStop" in reply.text
    assert not re.search(r"(src|href)=.?https?:", reply.text)
    assert "<script" not in reply.text
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")


def test_docs_explain_every_problem_and_every_scope() -> None:
    text = _DOCS.read_text()
    for kind in problems.Kind:
        assert f"| `{kind.value.name}`" in text or f"`{kind.value.name}`" in text, kind
        assert str(kind.value.status) in text
    for scope in Scope:
        assert f"`{scope}`" in text


def test_the_samples_of_the_docs_are_what_is_taken_and_given() -> None:
    kinds = (
        ReceiptDocument,
        Outcome,
        ResumeRequest,
        BatchReply,
        BatchLine,
        Letters,
        ProblemDocument,
    )
    samples = re.findall(r"^```json\n(.*?)^```", _DOCS.read_text(), re.MULTILINE | re.DOTALL)
    for kind, sample in zip(kinds, samples, strict=True):
        given = orjson.loads(sample)
        read = kind.model_validate(given)
        assert given.keys() <= read.model_dump(mode="json").keys(), kind


def test_the_docs_name_every_field_of_a_stop() -> None:
    page = _DOCS.read_text()
    named = page[page.index("| field | form |") : page.index("The receipt, of a")]
    assert set(re.findall(r"`(\w+)`", named)) >= set(StopRequest.model_fields) - {"request_id"}


def test_docs_have_every_call(document: dict[str, Any]) -> None:
    text = _DOCS.read_text()
    for path in document["paths"]:
        last = path.replace("{request_id}", "{id}").replace("{batch_id}", "{id}")
        assert last in text or f"…/{last.rpartition('/')[2]}" in text, path


def test_the_command_tells_its_options() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stopline.cli", "gateway", "--help"],
        capture_output=True,
        check=True,
        text=True,
    )
    assert "--workers" in done.stdout
