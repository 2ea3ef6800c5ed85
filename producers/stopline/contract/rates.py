"""How often somebody may do something."""

from __future__ import annotations

import re
from typing import Annotated, Final, NamedTuple, Self

from pydantic import AfterValidator

from stopline.errors import InvalidRequestError

_TEXT: Final = re.compile(r"(?P<count>[0-9]{1,9})/(?P<unit>[smh])(?:,burst=(?P<burst>[0-9]{1,9}))?")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


class Rate(NamedTuple):
    """How often something may happen, and how many times at once."""

    per_s: float
    burst: int

    @classmethod
    def parse(cls, text: str, field: str = "rate") -> Self:
        """A rate as people write it: `100/s`, `600/m`, `20/s,burst=100`.

        Without a burst, as many may come at once as in a second, and at least one.

        Raises:
            InvalidRequestError: it is none; the message names the field.
        """
        found = _TEXT.fullmatch(text)
        if found is None or not int(found["count"]) or found["burst"] == "0":
            raise InvalidRequestError(
                f"{field}: a rate like 100/s, 600/m or 20/s,burst=100 is needed", field=field
            )
        per_s = int(found["count"]) / _SECONDS[found["unit"]]
        return cls(per_s, int(found["burst"] or max(1, round(per_s))))


def _is_rate(text: str) -> str:
    try:
        Rate.parse(text)
    except InvalidRequestError as error:
        raise ValueError(str(error).removeprefix("rate: ")) from None
    return text


RateText = Annotated[str, AfterValidator(_is_rate)]
"""A rate as people write it, in settings and files."""


_BREAKER: Final = re.compile(r"(?P<failed>[0-9]{1,4})/(?P<of>[0-9]{1,4})")
BREAKER_OF_MAX: Final = 1000


def parse_breaker(text: str) -> tuple[int, int]:
    """`20/50`: twenty failed calls of the last fifty.

    Raises:
        ValueError: it is none.
    """
    found = _BREAKER.fullmatch(text)
    failed, of = (int(found["failed"]), int(found["of"])) if found else (0, 0)
    if not 1 <= failed <= of <= BREAKER_OF_MAX:
        msg = f"so many failed calls of so many are needed, as 20/50, of {BREAKER_OF_MAX} at most"
        raise ValueError(msg)
    return failed, of


def _is_breaker(text: str) -> str:
    parse_breaker(text)
    return text


BreakerText = Annotated[str, AfterValidator(_is_breaker)]
"""When a breaker opens, as people write it."""


class Spent(NamedTuple):
    """How much of a rate was granted, and in how many seconds one more would be."""

    granted: int
    retry_after_s: float
