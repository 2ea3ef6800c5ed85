"""Guards in the simulation: which a run has, and what must hold.

(i) nothing held is called for; no more new requests of a source go in any window than its guard
    allows; and what a guard holds is what is held.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

import orjson

from stopline.contract import Canary, Guard, GuardLimit, Halt

if TYPE_CHECKING:
    from collections.abc import Mapping

WILD: Final = "wild"
"""The source that a guard is for; others have none."""
_SECOND: Final = 1_000_000


def guards_of(seed: int) -> tuple[Guard, ...]:
    """The guards of a run; about half of the runs have one."""
    random = Random(f"guards {seed}")
    if random.random() < 0.5:
        return ()
    limit = GuardLimit(requests=random.randint(1, 3), window_s=random.choice([1, 2, 5]))
    canary = Canary(first=random.randint(1, 2)) if random.random() < 0.5 else None
    halt = Halt(failed_share=0.5, of_last=2) if random.random() < 0.3 else None
    auto_reset_s = random.choice([None, 5, 7])
    guard = Guard(source="wi*", limit=limit, canary=canary, halt=halt, auto_reset_s=auto_reset_s)
    return (guard,)


class GuardChecks:
    """Looks at what went, and at what is held."""

    def __init__(self, guards: tuple[Guard, ...]) -> None:
        self._limit = guards[0].limit if guards else None
        self._went: list[int] = []

    def accepted(self, item_wish: str, ledger_us: int) -> str | None:
        """A new request went at once: what is wrong with that."""
        if orjson.loads("{" + item_wish + "}")["source"] != WILD:
            return None
        return self._goes(ledger_us)

    def after_claim(
        self,
        before: Mapping[str, Mapping[str, str]],
        now: Mapping[str, Mapping[str, str]],
        ledger_us: int,
    ) -> str | None:
        """Held ones that a claim let go, because their canary had done well."""
        for request_id, record in now.items():
            earlier = before.get(request_id)
            if earlier and earlier["state"] == "held" and record["state"] != "held":
                if record["state"] == "calling":
                    return f"{request_id} was held, and is called for"
                wrong = self._goes(ledger_us) if earlier["held_for"] == "canary" else None
                if wrong:
                    return wrong
        return None

    def reset(self) -> None:
        """A person let the guard begin anew."""
        self._went = []

    def held(self, indexed: set[str], there: set[str]) -> str | None:
        """Whether the index says what is held."""
        return None if indexed == there else f"held: {sorted(there)}; the index: {sorted(indexed)}"

    def _goes(self, ledger_us: int) -> str | None:
        if self._limit is None:
            return None
        begin = ledger_us - round(self._limit.window_s * _SECOND)
        self._went = [at for at in self._went if at > begin]
        self._went.append(ledger_us)
        if len(self._went) > self._limit.requests:
            return f"{len(self._went)} went within {self._limit.window_s:g} s"
        return None
