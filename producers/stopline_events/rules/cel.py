"""Expressions in CEL, the Common Expression Language (https://cel.dev).

Types are checked before anything runs, and no expression runs for ever. This is the only module
that knows the library (`cel-expr-python`, of cel-cpp), and what is odd about it is dealt with here:
an expression that fails gives a value of the type ERROR, which is true to Python; and one integer
beyond 64 bits makes the whole event unreadable.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from cel_expr_python import cel

from stopline_events.rules.expressions import EvaluationError, ExpressionError, Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT_CHARACTERS_MAX: Final = 2_000
"""Of one expression: compiling holds up everything else."""
DEPTH_MAX: Final = 32
"""Of an event's data."""
LENGTH_MAX: Final = 500
"""Of a list or map in it: what one round of a loop costs grows with them."""
_PLACE: Final = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_REASON: Final = re.compile(r"^[A-Z_]+: ")
_TYPES: Final = {
    Wanted.CONDITION: {"BOOL", "DYN"},
    Wanted.TEXT: {"STRING", "DYN"},
    Wanted.MOMENT: {"TIMESTAMP", "STRING", "DYN"},
}
_INTEGERS: Final = range(-(1 << 63), 1 << 63)


class Cel:
    """CEL over one variable, `event`: a map from names to whatever JSON has."""

    def __init__(self) -> None:
        kinds = cel.Type
        self._env = cel.NewEnv(variables={"event": kinds.Map(kinds.STRING, kinds.DYN)})

    def compile(self, text: str, wanted: Wanted) -> CelExpression:
        """As `Language.compile`."""
        if len(text) > TEXT_CHARACTERS_MAX * (1 + 8 * (wanted is Wanted.FIELDS)):
            raise ExpressionError(f"it is longer than {TEXT_CHARACTERS_MAX} characters")
        try:
            compiled = self._env.compile(text)
        except (RuntimeError, ValueError, TypeError, MemoryError) as error:
            raise _error_of(str(error)) from None
        kind = compiled.return_type().name()
        if wanted is not Wanted.FIELDS and kind not in _TYPES[wanted]:
            raise ExpressionError(f"{wanted} is needed, and this gives {kind}")
        return CelExpression(compiled, wanted)

    def bind(self, event: Mapping[str, Any]) -> Any:
        """As `Language.bind`; raises `EvaluationError` for data that is nested too deep."""
        return self._env.Activation({"event": _readable(event, DEPTH_MAX)})


class CelExpression:
    """A compiled expression."""

    def __init__(self, compiled: Any, wanted: Wanted) -> None:
        self._compiled = compiled
        self._wanted = wanted

    def evaluate(self, event: Any) -> Any:
        """As `Expression.evaluate`."""
        try:
            value = self._compiled.eval(event)
        except (RuntimeError, ValueError, TypeError, MemoryError) as error:
            raise EvaluationError(_told(str(error))) from None
        if value.type().name() in {"ERROR", "UNKNOWN"}:
            raise EvaluationError(_told(str(value.value())))
        return value.plain_value()


def _check_bounds(value: dict[str, Any] | list[Any], depth: int) -> None:
    if not depth:
        raise EvaluationError(f"the data is nested more than {DEPTH_MAX} deep")
    if len(value) > LENGTH_MAX:
        raise EvaluationError(f"the data has a list or map of more than {LENGTH_MAX}")


def _readable(value: Any, depth: int) -> Any:
    """Data as CEL can hold it: larger integers become what JavaScript would make of them."""
    if isinstance(value, dict):
        _check_bounds(value, depth)
        return {_whole(name): _readable(one, depth - 1) for name, one in value.items()}
    if isinstance(value, list):
        _check_bounds(value, depth)
        return [_readable(one, depth - 1) for one in value]
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INTEGERS:
        return _float(value)
    return value


def _whole(text: str) -> str:
    """The library ends a text at its first NUL: it would decide on another than the sender's."""
    if "\x00" in text:
        raise EvaluationError("the data has a text with a NUL in it")
    return text


def _float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise EvaluationError("the data has a number that is too large") from None


def _error_of(text: str) -> ExpressionError:
    found = _PLACE.search(text)
    if found is None:
        return ExpressionError(_told(text.partition("\n")[0]))
    line, column = int(found[1]), int(found[2])
    reason = found[3].replace(" (in container '')", "")
    return ExpressionError(reason, max(1, line), column if column > 0 else None)


def _told(text: str) -> str:
    """What the library says, without its codes."""
    return re.sub(r" \[[A-Z_]+\]$", "", _REASON.sub("", text.partition("\n")[0]))[:300]
