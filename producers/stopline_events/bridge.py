"""The bridge: reads a stream, and has the ledger accept what it asks for.

A message is acknowledged when the ledger has it: as a request, a resume, or in the quarantine. One
that dies in between is read again, and found by its key: nothing is lost, and nothing doubled.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

import stopline
from stopline.contract import Beat, BridgeState, ProcessRole, Receipt, Refusal
from stopline.errors import (
    InvalidRequestError,
    InvalidSettingsError,
    LedgerFullError,
    StoplineError,
    UnavailableError,
)
from stopline_events.decisions import Decision, Ignored, Resume, Ruled, Stop
from stopline_events.policy import Policy, PolicySettings
from stopline_events.reading import decision_of, junk_from
from stopline_events.sources.port import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline import AsyncStopClient
    from stopline_events.sources.port import Message, Source

_log = logging.getLogger(__name__)
_WAIT_S: Final = 1.0
_BEAT_S: Final = 5.0
_LAG_S: Final = 3.0
_AGAIN_S, _AGAIN_MAX_S = 0.25, 10.0
_COUNTED: Final = ("received", "stops", "resumes", "ignored", "failed", "quarantined")
_JUNK_MAX: Final = 200
"""Messages in a row that are junk: then it is most likely the wrong stream, and the quarantine has
room for a few thousand."""


@dataclass(slots=True)
class Progress:
    """What became of the messages that were read."""

    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(_COUNTED, 0)))
    """`received`; `stops`, `resumes`; `ignored`; `failed` (no rule could say anything, and one
    failed); `quarantined`."""
    position: str | None = None
    problem: str | None = None
    lag: int | None = None


class _Read(NamedTuple):
    """A message and what it asks for; or what is wrong with it."""

    message: Message
    decision: Decision | str


class Bridge:
    """Moves messages from a source to the ledger, until it is told to end or the source is over.

    Args:
        client: of the ledger.
        source: the messages.
        together: how many are read at a time.
        policy: decides about events; None: only the fixed types mean something.
    """

    def __init__(
        self,
        client: AsyncStopClient,
        source: Source,
        *,
        together: int = 250,
        policy: Policy | None = None,
    ) -> None:
        self._client = client
        self._source = source
        self._together = together
        self._policy = policy or Policy(client, PolicySettings(file=None, record_max=0))
        self._ending = asyncio.Event()
        self._again_s = _AGAIN_S
        self._is_open = False
        self._resumed: set[str] = set()
        """Resumes that were told and not acknowledged: one without a time, told again, would count
        as of now, and supersede the stop that came after it."""
        self._junk_in_a_row = 0
        self._last_reason = ""
        self.progress = Progress()

    def end(self) -> None:
        """Finish what was read, and end; safe in a signal handler of the loop."""
        self._ending.set()

    async def run(self) -> None:
        """Move messages; what fails is tried again."""
        beating = asyncio.create_task(self._beat())
        try:
            while not self._ending.is_set() and not (self._is_open and self._source.is_over):
                await self._turn()
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            await self._source.close()
            await self._leave()

    async def _turn(self) -> None:
        """Read some messages, and see them through."""
        messages: Sequence[Message] = ()
        try:
            if not self._is_open:
                await self._source.open()
                self._is_open = True
            messages = await self._source.read(self._together, _WAIT_S)
            if messages:
                await self._see_through(messages)
                await self._source.acknowledge(messages)
                self._resumed.clear()
                self._check_stream()
                self.progress.position = messages[-1].position
        except SourceError as error:
            self._is_open = False  # it is opened again, and gives what was not acknowledged
            await self._pause(error)
        except (UnavailableError, LedgerFullError) as error:
            await self._source.give_back(messages)
            await self._pause(error)
        else:
            self.progress.problem = None
            self._again_s = _AGAIN_S

    def _check_stream(self) -> None:
        """End where nothing but junk comes; what came is acknowledged, and in the quarantine."""
        if self._junk_in_a_row >= _JUNK_MAX:
            raise InvalidSettingsError(
                f"{self._source.name}: {self._junk_in_a_row} messages in a row were neither events "
                f"nor stop requests (the last: {self._last_reason}); they are in the quarantine, "
                "and no more is read. Is it the right stream?"
            )

    async def _pause(self, error: StoplineError) -> None:
        if self.progress.problem != str(error):
            _log.warning("%s; it is tried again", error, extra={"action": "bridge_waits"})
        self.progress.problem = str(error)
        try:
            async with asyncio.timeout(self._again_s):
                await self._ending.wait()
        except TimeoutError:
            self._again_s = min(_AGAIN_MAX_S, 2 * self._again_s)

    # --- messages -------------------------------------------------------------------------------

    async def _see_through(self, messages: Sequence[Message]) -> None:
        """Do what messages ask for, in their order; stops in a row together."""
        done: Counter[str] = Counter(received=len(messages))
        read = [one for message in messages for one in self._read(message)]
        for are_stops, some in groupby(read, lambda one: isinstance(one.decision, Stop)):
            if are_stops:
                await self._stop(tuple(some), done)
            else:
                for one in some:
                    await self._do(one, done)
        self.progress.counts.update(done)
        if done["ignored"]:
            await self._client.count("events_ignored", done["ignored"])
        await self._policy.flush()

    def _read(self, message: Message) -> Sequence[_Read]:
        """What a message asks for; of rules it may be more than one thing."""
        try:
            decision = decision_of(message, self._source, self._policy)
        except InvalidRequestError as error:
            return [_Read(message, str(error))]
        except Exception:  # noqa: BLE001  # those behind it must not wait for ever
            _log.exception("message %s", message.position, extra={"action": "message_unreadable"})
            return [_Read(message, "it cannot be read: the log of the bridge says why")]
        if not isinstance(decision, Ruled):
            return [_Read(message, decision)]
        for failed in decision.failed:
            what = {"action": "rule_failed", "rule": failed.rule, "position": message.position}
            _log.warning("rule %s: %s", failed.rule, failed.reason, extra=what)
        fired = [_Read(message, one.action) for one in decision.fired]
        return fired or [_Read(message, Ruled())]

    async def _stop(self, some: Sequence[_Read], done: Counter[str]) -> None:
        requests = [one.decision.request for one in some if isinstance(one.decision, Stop)]
        results = await self._client.submit_each(requests)
        for one, result in zip(some, results, strict=True):
            if isinstance(result, Receipt):
                self._junk_in_a_row = 0
                done["stops"] += 1
            else:
                await self._quarantine(one.message, _reason(result), done)

    async def _do(self, one: _Read, done: Counter[str]) -> None:
        match one.decision:
            case Resume() as resume:
                await self._resume(one.message, resume, done)
            case Ignored():
                self._junk_in_a_row = 0
                done["ignored"] += 1
            case Ruled():
                self._junk_in_a_row = 0
                done["failed"] += 1
            case str(reason):
                await self._quarantine(one.message, reason, done)

    async def _resume(self, message: Message, resume: Resume, done: Counter[str]) -> None:
        known = f"{message.position} {resume.target}"
        if known not in self._resumed:
            try:
                await self._client.resumed(*resume.target, at=resume.at)
            except InvalidRequestError as error:
                await self._quarantine(message, str(error), done)
                return
            self._resumed.add(known)
        self._junk_in_a_row = 0
        done["resumes"] += 1

    async def _quarantine(self, message: Message, reason: str, done: Counter[str]) -> None:
        self._junk_in_a_row += 1
        self._last_reason = reason
        await self._client.quarantine(junk_from(message, self._source, reason))
        done["quarantined"] += 1
        what = {"action": "quarantined", "queue": self._source.name, "reason": reason}
        _log.warning("message %s kept in quarantine", message.position, extra=what)

    # --- health ---------------------------------------------------------------------------------

    @property
    def _process_id(self) -> str:
        return f"bridge {self._source.name} {socket.gethostname()}/{os.getpid()}"

    async def _beat(self) -> None:
        """Say every few seconds how far it is."""
        while True:
            self.progress.lag = await self._lag()
            try:
                await self._client.beat(self._said())
            except Exception as error:  # noqa: BLE001  # who looks for it sees that it is missing
                _log.debug("no heartbeat: %r", error, extra={"action": "beat_failed"})
            await asyncio.sleep(_BEAT_S)

    async def _lag(self) -> int | None:
        try:
            async with asyncio.timeout(_LAG_S):
                return await self._source.lag() if self._is_open else self.progress.lag
        except Exception as error:  # noqa: BLE001  # it is a figure for people
            _log.debug("no lag: %r", error, extra={"action": "lag_failed"})
            return self.progress.lag

    def _said(self) -> Beat:
        now = self.progress
        return Beat(
            version=stopline.__version__,
            process_id=self._process_id,
            role=ProcessRole.BRIDGE,
            host=socket.gethostname(),
            pid=os.getpid(),
            lanes=(),
            bridge=BridgeState(
                source=self._source.name,
                position=now.position,
                lag=now.lag,
                received=now.counts["received"],
                quarantined=now.counts["quarantined"],
                problem=now.problem,
            ),
        )

    async def _leave(self) -> None:
        try:
            await self._client.leave(self._process_id)
        except StoplineError as error:
            _log.debug("no word at the end: %s", error, extra={"action": "beat_failed"})


def _reason(refusal: Refusal) -> str:
    return f"{refusal.field}: {refusal.reason}" if refusal.field else refusal.reason
