"""Rules that were checked, and what they say of an event. Pure.

The first rule whose condition is true says what is done; behind one with `also: true` the others
are looked at as well. An expression that fails is no match: it is told and counted, and the rules
behind it are looked at.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from stopline.contract import (
    REASON_CHARACTERS_MAX,
    StopRequest,
    Target,
    parse_moment,
    rfc3339,
    short_key,
)
from stopline.errors import InvalidRequestError
from stopline_events.decisions import (
    Failed,
    Fired,
    Resume,
    Ruled,
    Stop,
    idempotency_key,
    trace_of,
)
from stopline_events.rules.expressions import (
    EvaluationError,
    Expression,
    ExpressionError,
    Language,
    Wanted,
)

if TYPE_CHECKING:
    from stopline_events.cloud_events import Event
    from stopline_events.rules.documents import ResumeAction, Rule, StopAction

EVENT_BYTES_MAX: Final = 16 * 1024
"""Larger events are no business of rules: what an expression costs grows with them."""
SOURCE_PREFIX: Final = "policy:"
_MOMENTS: Final = frozenset({"issued_at", "not_after", "at"})


class WrongRuleError(ExpressionError):
    """A rule cannot be used; `field` says which of its expressions is wrong."""

    def __init__(self, rule: str, field: str, error: ExpressionError) -> None:
        super().__init__(error.reason, error.line, error.column)
        self.rule = rule
        self.field = field


@dataclass(frozen=True, slots=True)
class _Compiled:
    rule: Rule
    when: Expression
    fields: Expression


class RuleBook:
    """Rules in their order.

    Args:
        rules: as they stand in a file.
        language: of their expressions.

    Raises:
        WrongRuleError: an expression is wrong.
    """

    def __init__(self, rules: tuple[Rule, ...], language: Language) -> None:
        self.rules = rules
        self._language = language
        self._compiled = tuple(_compile(rule, language) for rule in rules)

    def decide(self, event: Event, *, arrived_at: datetime) -> Ruled:
        """What the rules say of an event; `arrived_at` is its time where it has none."""
        fired: list[Fired] = []
        failed: list[Failed] = []
        try:
            bound = self._language.bind(_seen(event, arrived_at))
        except EvaluationError as error:
            return Ruled(failed=(Failed("", str(error)),))
        for one in self._compiled:
            name = one.rule.name
            try:
                if one.when.evaluate(bound) is not True:
                    continue
                fields = one.fields.evaluate(bound)
                fired.append(Fired(name, _action(one.rule, fields, event, arrived_at)))
            except EvaluationError as error:
                failed.append(Failed(name, str(error)))
                continue
            except InvalidRequestError as error:
                failed.append(Failed(name, str(error)))
                continue
            if not one.rule.also:
                break
        return Ruled(tuple(fired), tuple(failed))

    def explain(self, event: Event, *, arrived_at: datetime) -> list[tuple[str, str]]:
        """Of each rule its name, and what came of its condition, for people."""
        try:
            bound = self._language.bind(_seen(event, arrived_at))
        except EvaluationError as error:
            return [(one.name, str(error)) for one in self.rules]
        return [(one.rule.name, _came_of(one.when, bound)) for one in self._compiled]


def _came_of(when: Expression, bound: Any) -> str:
    try:
        return "true" if when.evaluate(bound) is True else "false"
    except EvaluationError as error:
        return f"error: {error}"


def _compile(rule: Rule, language: Language) -> _Compiled:
    when = _checked(rule, "when", rule.when, Wanted.CONDITION, language)
    action: StopAction | ResumeAction | None = rule.stop or rule.resume
    assert action is not None  # noqa: S101  # the document has one of them
    kind = "stop" if rule.stop else "resume"
    texts = {name: text for name, text in action.model_dump().items() if text is not None}
    for name, text in texts.items():
        wanted = Wanted.MOMENT if name in _MOMENTS else Wanted.TEXT
        _checked(rule, f"{kind}.{name}", text, wanted, language)
    # One expression for all of them: an event is taken apart once.
    pairs = ", ".join(f'"{name}": dyn({text}\n)' for name, text in texts.items())
    fields = _checked(rule, kind, f"{{{pairs}}}", Wanted.FIELDS, language)
    return _Compiled(rule, when, fields)


def _checked(rule: Rule, field: str, text: str, wanted: Wanted, language: Language) -> Expression:
    try:
        return language.compile(text, wanted)
    except ExpressionError as error:
        raise WrongRuleError(rule.name, field, error) from None


def _seen(event: Event, arrived_at: datetime) -> dict[str, Any]:
    """An event as expressions see it: attributes that it has not are not there."""
    known = {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "data": event.data,
    }
    present = {name: value for name, value in known.items() if value is not None}
    seen = {**event.extensions, **present, "time": rfc3339(event.time or arrived_at)}
    if _size(seen) > EVENT_BYTES_MAX:
        raise EvaluationError(f"the event is larger than {EVENT_BYTES_MAX} bytes")
    return seen


def _size(seen: dict[str, Any]) -> int:
    try:
        return len(orjson.dumps(seen, default=str))
    except TypeError:  # integers beyond 64 bits
        return len(json.dumps(seen, default=str))
    except RecursionError:
        raise EvaluationError("the data is nested too deep") from None


def _action(
    rule: Rule, fields: dict[str, Any], event: Event, arrived_at: datetime
) -> Stop | Resume:
    happened_at = event.time or arrived_at
    given = {name: value for name, value in fields.items() if value is not None}
    if rule.resume is not None:
        at = given.pop("at", happened_at)
        moment = at if isinstance(at, datetime) else parse_moment(at, "at")
        request = StopRequest.parse({**given, "source": SOURCE_PREFIX + rule.name})
        return Resume(Target(request.user_id, request.task_id, request.sub_user_id), moment)
    if isinstance(given.get("reason"), str):
        given["reason"] = given["reason"][:REASON_CHARACTERS_MAX]
    return Stop(
        StopRequest.parse(
            {
                "issued_at": happened_at,
                **given,
                "source": SOURCE_PREFIX + rule.name,
                "idempotency_key": _key(rule, event),
                "traceparent": trace_of(event),
            }
        )
    )


def _key(rule: Rule, event: Event) -> str:
    """The event's own; rules beside which others fire have one each."""
    if not rule.also:
        return idempotency_key(event)
    return short_key(orjson.dumps([event.source, event.id, rule.name]).decode())
