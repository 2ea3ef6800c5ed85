"""Decisions of the Open Policy Agent as events. Pure.

What OPA's decision log sends (https://www.openpolicyagent.org/docs/management-decision-logs): one
decision, or a list. A decision asks for stops where its `result` is a stop request's fields under
`stop`, or a list of them; `result: {"stop": []}`, `false` or anything else asks for none.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stopline.contract import Moment, describe
from stopline.errors import InvalidRequestError
from stopline_events.cloud_events import Event

DECISIONS_MAX: Final = 2_000
DECISION: Final = "opa.decision"
_STOPS_MAX: Final = 1_000


class _Decision(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    decision_id: str = Field(min_length=1, max_length=200)
    path: str = Field(default="", max_length=800)
    timestamp: Moment | None = None
    result: Any = None


def events_of(body: Any) -> list[Event | InvalidRequestError]:
    """Decisions as events, or what is wrong with one of them.

    The data has `decision_id`, `path`, `result` and `input`.

    Raises:
        InvalidRequestError: there are too many.
    """
    documents = body if isinstance(body, list) else [body]
    if len(documents) > DECISIONS_MAX:
        raise InvalidRequestError(f"at most {DECISIONS_MAX} decisions are taken at once")
    return [_event(number, raw) for number, raw in enumerate(documents)]


def _event(number: int, raw: Any) -> Event | InvalidRequestError:
    try:
        decision = _Decision.model_validate(raw)
    except ValidationError as error:
        field, reason = describe(error)
        field = f"{number}.{field}"
        return InvalidRequestError(f"{field}: {reason}", field=field)
    return Event(
        specversion="1.0",
        id=decision.decision_id,
        source=f"opa/{decision.path}".rstrip("/"),
        type=DECISION,
        time=decision.timestamp,
        data={
            "decision_id": decision.decision_id,
            "path": decision.path,
            "result": decision.result,
            "input": raw.get("input"),
        },
    )


def stop_fields(event: Event) -> list[dict[str, Any]]:
    """The fields of each stop request that a decision asks for.

    Raises:
        InvalidRequestError: there are too many.
    """
    result = event.data["result"]
    stops = result.get("stop") if isinstance(result, dict) else None
    found = stops if isinstance(stops, list) else [stops]
    if len(found) > _STOPS_MAX:
        raise InvalidRequestError(f"result.stop: at most {_STOPS_MAX} are taken", field="result")
    return [one for one in found if isinstance(one, dict)]
