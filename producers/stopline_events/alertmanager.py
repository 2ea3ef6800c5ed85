"""Alerts of Prometheus' Alertmanager (webhook version 4) as events. Pure.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config. An alert that fires asks
for a stop, one that is resolved never does. Alertmanager repeats what still fires: an alert is
known by its fingerprint and when it began.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stopline.contract import Moment, describe
from stopline.errors import InvalidRequestError
from stopline_events.cloud_events import Event

ALERTS_MAX: Final = 2_000
FIRING: Final = "alertmanager.alert.firing"
RESOLVED: Final = "alertmanager.alert.resolved"
_IDS: Final = ("user_id", "task_id", "sub_user_id", "lane")


class _Alert(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    status: str
    labels: dict[str, str]
    annotations: dict[str, str] = Field(default_factory=dict)
    startsAt: Moment  # noqa: N815  # as Alertmanager has it
    fingerprint: str = Field(min_length=1, max_length=200)


class _Webhook(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    version: str
    alerts: list[Any] = Field(max_length=ALERTS_MAX)


def events_of(body: Any) -> list[Event | InvalidRequestError]:
    """The alerts of a webhook as events, the data is the alert; or what is wrong with one of them.

    Raises:
        InvalidRequestError: it is no such webhook.
    """
    try:
        webhook = _Webhook.model_validate(body)
    except ValidationError as error:
        field, reason = describe(error)
        raise InvalidRequestError(f"{field}: {reason}", field=field) from None
    if webhook.version != "4":
        raise InvalidRequestError("version: version 4 is read", field="version")
    return [_event(number, alert) for number, alert in enumerate(webhook.alerts)]


def _event(number: int, raw: Any) -> Event | InvalidRequestError:
    try:
        alert = _Alert.model_validate(raw)
    except ValidationError as error:
        field, reason = describe(error)
        field = f"alerts.{number}.{field}"
        return InvalidRequestError(f"{field}: {reason}", field=field)
    data = alert.model_dump(mode="json")
    return Event(
        specversion="1.0",
        id=f"{alert.fingerprint}/{data['startsAt']}",
        source="alertmanager",
        type=FIRING if alert.status == "firing" else RESOLVED,
        time=alert.startsAt,
        data=data,
    )


def stop_fields(event: Event) -> dict[str, Any] | None:
    """A stop request's fields, where an alert that fires has labels with ids; else None."""
    labels, annotations = event.data["labels"], event.data["annotations"]
    if event.type != FIRING or "user_id" not in labels or "task_id" not in labels:
        return None
    reason = annotations.get("summary") or labels.get("alertname")
    ids = {name: labels[name] for name in _IDS if name in labels}
    return {**ids, "reason": reason[:500] if reason else None}
