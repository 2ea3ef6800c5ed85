"""One run's world: its randomness, its clock, its faults, and the log of what happened."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, fields
from random import Random
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

START_US: Final = 1_800_000_000_000_000
_STEPS_S: Final = (0.003, 0.2, 3.0, 3600.0, 5 * 3600.0)
_JUMP_US: Final = 1000


@dataclass(frozen=True, slots=True)
class Faults:
    """How likely each fault is, each time it could happen.

    A run has about half of the kinds, each at a strength of its own, so that some runs are
    dominated by one kind and others mix many ("swarm testing", Groce et al. 2012).
    """

    crash: float
    """At each step boundary: the process dies."""
    freeze: float
    """At each step boundary: the process stands still, perhaps for longer than its leases."""
    terminate: float
    """Now and then: the process drains and ends."""
    command_lost: float
    """A Redis command never arrives."""
    command_late: float
    """It arrives, but after its sender gave it up."""
    reply_lost: float
    """It ran, but the reply never comes."""
    redis_down: float
    """Now and then: every command is refused for a while."""
    message_lost: float
    message_repeated: float
    message_late: float
    call_failed: float
    """The API answers an error that passes."""
    call_ambiguous: float
    """The API did the stop, but the reply is lost."""
    call_slow: float
    """The API answers after the call's time limit."""
    call_refused: float
    """The API answers an error that is final."""
    api_trouble: float
    """Now and then: the API answers nobody, or refuses everybody, for a while."""
    producer_crash: float
    clock_step: float
    """Now and then: the server's clock steps, back or forward, by milliseconds or by hours."""

    @classmethod
    def none(cls) -> Faults:
        """A run in which nothing goes wrong."""
        return cls(**{one.name: 0.0 for one in fields(cls)})

    @classmethod
    def draw(cls, random: Random, clock: Random, gate: Random) -> Faults:
        """The faults of one run; those of the clock and the API from sources of their own."""
        own = {"clock_step": clock, "api_trouble": gate}
        strongest = {"crash": 0.04, "freeze": 0.04, "producer_crash": 0.2, "call_refused": 0.15}
        return cls(
            **{
                one.name: source.random() * strongest.get(one.name, 0.3)
                if source.random() < 0.5
                else 0.0
                for one in fields(cls)
                for source in (own.get(one.name, random),)
            }
        )


class World:
    """What all parts of a run share.

    Args:
        seed: what all that is random follows from.
        faults: None: drawn from the seed.
        crash_at: the process dies that comes to the step boundary of that number.
    """

    def __init__(
        self, seed: int, *, faults: Faults | None = None, crash_at: int | None = None
    ) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.clock_random = Random(f"clock {seed}")
        self.trouble_random = Random(f"trouble {seed}")
        self.faults = faults or Faults.draw(self.random, self.clock_random, self.trouble_random)
        self.crash_at = crash_at
        self.boundaries = 0
        self.healed = False
        self.over = False
        self.counts: Counter[str] = Counter()
        self.log: list[tuple[float, str, str]] = []
        self.broken: BaseException | None = None
        self._failed = asyncio.Event()
        self._last_us = 0
        self._clock_off_us = 0
        self._ledger_ahead_us = 0
        self.jumped_at = -1.0
        """When the ledger's time last went forward by more than passed."""
        self._ids = 0
        self._limbo: list[asyncio.Future[NoReturn]] = []

    # --- time ---------------------------------------------------------------------------------

    @staticmethod
    def monotonic() -> float:
        """Virtual seconds."""
        return asyncio.get_running_loop().time()

    def now_us(self) -> int:
        """The true time, in microseconds, which nobody in the world knows."""
        return START_US + round(self.monotonic() * 1_000_000)

    def server_us(self) -> int:
        """What the clock of the server says."""
        return self.now_us() + self._clock_off_us

    def ledger_us(self) -> int:
        """What the clock of the ledger said last, carried on."""
        return self._ledger_ahead_us + self.now_us()

    def script_us(self) -> int:
        """The true time of a script: no two scripts run in one microsecond."""
        self._last_us = max(self._last_us + 1, self.now_us())
        return self._last_us

    def script_on_server_us(self, true_us: int) -> int:
        """The same by the server's clock."""
        return true_us + self._clock_off_us

    def learn_ledger_time(self, ledger_us: int, true_us: int) -> None:
        """A script said what time it is."""
        ahead_us = ledger_us - true_us
        if ahead_us > self._ledger_ahead_us + _JUMP_US:
            self.jumped_at = self.monotonic()
        self._ledger_ahead_us = ahead_us

    def step_clock(self) -> None:
        """The server's clock steps."""
        step_s = self.clock_random.choice(_STEPS_S) * self.clock_random.choice((-1, 1))
        self._clock_off_us += round(step_s * 1_000_000)
        self.tell("clock", f"of the server steps by {step_s:g} s")

    async def pause(self, shortest_s: float, longest_s: float) -> None:
        """Let a random time pass."""
        await asyncio.sleep(self.random.uniform(shortest_s, longest_s))

    async def for_ever(self) -> NoReturn:
        """Wait for what never comes."""
        future: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()
        self._limbo.append(future)  # or who waits for it would be collected as garbage
        return await future

    # --- chance -------------------------------------------------------------------------------

    def strikes(self, fault: str) -> bool:
        """Whether a fault happens now; none does any more once the world is healed."""
        chance: float = getattr(self.faults, fault)
        own = {"clock_step": self.clock_random, "api_trouble": self.trouble_random}
        source = own.get(fault, self.random)
        if self.healed or chance == 0.0 or source.random() >= chance:
            return False
        self.counts[fault] += 1
        return True

    def new_id(self) -> str:
        """An id that the seed gives again."""
        self._ids += 1
        return f"id-{self._ids}"

    # --- failure ------------------------------------------------------------------------------

    def fail(self, error: BaseException) -> None:
        """Something is wrong; the first thing counts."""
        if self.broken is None:
            self.broken = error
            self.log.append((self.log[-1][0] if self.log else 0.0, "BROKEN", repr(error)))
            self._failed.set()

    async def unless_broken(self, awaitable: Coroutine[Any, Any, T] | asyncio.Future[T]) -> T:
        """Wait for something, or for the first failure, which is raised."""
        task = asyncio.ensure_future(awaitable)
        failed = asyncio.create_task(self._failed.wait())
        await asyncio.wait([task, failed], return_when=asyncio.FIRST_COMPLETED)
        failed.cancel()
        if self.broken is not None:
            raise self.broken
        return task.result()

    # --- log ----------------------------------------------------------------------------------

    def tell(self, actor: str, event: str) -> None:
        """Write down what happened."""
        self.log.append((self.monotonic(), actor, event))

    def story(self) -> str:
        """The log as text."""
        return "\n".join(f"{at:10.4f} {actor:<12} {event}" for at, actor, event in self.log)
