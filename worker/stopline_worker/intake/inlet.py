"""Where all messages come in: each goes to who can handle it, or into quarantine.

Stock Celery deletes undecodable, unknown and invalid messages with a log line.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from celery.exceptions import NotRegistered

from stopline.contract import DISPATCH_TASK, MESSAGE_IDS_MAX, STOP_TASK
from stopline.dispatch.broker import DELIVERIES_MAX, UNDELIVERED
from stopline_worker.intake.acknowledging import Acknowledging
from stopline_worker.intake.deliveries import Delivery
from stopline_worker.intake.dispatch_entries import dispatched_ids, ids_of
from stopline_worker.intake.envelope import MalformedError, opened, parsed, task_message
from stopline_worker.intake.handover import Handover
from stopline_worker.intake.lane_queues import LANE_QUEUES, Taken
from stopline_worker.intake.refusing import Refusing
from stopline_worker.intake.stop_messages import StopMessages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stopline_worker.intake.celery_view import CeleryView
    from stopline_worker.intake.deliveries import Source
    from stopline_worker.intake.envelope import TaskMessage
    from stopline_worker.intake.lane_queues import LaneQueues
    from stopline_worker.intake.loop_timer import LoopTimer
    from stopline_worker.intake.quarantine import Quarantine
    from stopline_worker.process.runtime import Runtime

_log = logging.getLogger(__name__)
_AHEAD_BYTES_MAX: Final = 4096
_NO_IDS: Final = f"{DISPATCH_TASK} takes one list of at most {MESSAGE_IDS_MAX} ids"


class Inlet:
    """What the consumer does with messages. A round is what came together.

    Args:
        runtime: of the process.
        quarantine: keeps what nobody can handle.
        view: what Celery's tools see.
        timer: of the consumer's loop.
    """

    def __init__(
        self, runtime: Runtime, quarantine: Quarantine, view: CeleryView, timer: LoopTimer
    ) -> None:
        self._acknowledging = Acknowledging(timer)
        self._ahead = b""
        self._handover = Handover(runtime.inbox, timer)
        self._refusing = Refusing(runtime, quarantine, view, self._acknowledging)
        self._stops = StopMessages(
            runtime, self._refusing, view, self._handover, self._acknowledging, timer
        )

    @property
    def has_room(self) -> bool:
        """Whether more may be taken off the queues."""
        return self._handover.has_room and self._stops.has_room

    # --- ways in ------------------------------------------------------------------------------

    def take_entries(self, source: LaneQueues, entries: Sequence[Taken]) -> None:
        """A round of entries that were taken off the lanes' queues."""
        for one in entries:
            if one.tag is not None:
                self._take_entry(source, one)
            elif one.is_readable:
                self._take_ids(one)
            else:
                self._keep_unreadable(source, one)
        self._ahead = b""
        self.end_of_round()

    def look_ahead(self, entry: bytes) -> None:
        """An urgent entry that is about to be taken: its ids need not wait for that.

        On a busy server it saves one of three waits. Where other workers of the lane look, too,
        some claim in vain.
        """
        ids = ids_of(entry) if len(entry) <= _AHEAD_BYTES_MAX else None
        if ids is not None and self.has_room:
            self._ahead = entry
            self._handover.add(ids)
            self._handover.flush()

    def take_leftovers(self, source: LaneQueues, queues: Sequence[str]) -> None:
        """Entries that are no messages, and that no worker could keep when it took them."""
        for queue in queues:
            for entry in source.unreadable(queue):
                if not self._keep_unreadable(source, Taken(queue, entry, is_readable=False)):
                    return  # the ledger is away: later

    def take(self, delivery: Delivery) -> None:
        """A message of the round that goes on."""
        try:
            self._take(delivery)
        except MalformedError as error:
            self._refusing.refuse_unread(delivery, str(error))
        except Exception as error:  # noqa: BLE001  # whatever it raises, the message is kept
            _log.exception("message not understood", extra={"action": "message_failed"})
            self._refusing.refuse_unread(
                delivery, f"cannot be handled: {type(error).__name__}: {error}"
            )

    def end_of_round(self) -> None:
        """No more came together with what was taken."""
        try:
            self._handover.flush()
            self._stops.flush()
        finally:
            self._handover.flush()
            self._refusing.flush()
            self._acknowledging.flush()

    def keep(self, delivery: Delivery, reason: str) -> None:
        """A message that is none."""
        self._refusing.keep(delivery, reason)
        self._acknowledging.flush()

    def drop(self, source: Source, tag: Any = None) -> None:
        """It has taken its messages back, or this one."""
        self._stops.drop(source, tag)
        if tag is None:
            self._acknowledging.forget(source)

    def close(self) -> None:
        """The worker ends: others are to have what it holds."""
        self._stops.give_back_all()
        self._acknowledging.flush()

    # --- what it may be -----------------------------------------------------------------------

    def _take_entry(self, source: LaneQueues, one: Taken) -> None:
        try:
            content = opened(parsed(one.entry))
        except MalformedError as error:
            whole = Delivery(source, one.tag, one.queue, one.entry, None)
            self._refusing.keep(whole, f"the queue's entry {error}")
        else:
            self.take(Delivery(source, one.tag, one.queue, *content))

    def _take_ids(self, one: Taken) -> None:
        if one.entry == self._ahead:
            self._ahead = b""
            return
        ids = ids_of(one.entry)
        if ids is not None:
            self._handover.add(ids)
        elif not self._refusing.keep_entry(one.queue, one.entry, _NO_IDS):
            _log.error("no ids, and not kept", extra={"action": "quarantine_failed"})

    def _keep_unreadable(self, source: LaneQueues, one: Taken) -> bool:
        try:
            parsed(one.entry)
            reason = "is no message of kombu's"
        except MalformedError as error:
            reason = str(error)
        is_kept = self._refusing.keep_entry(one.queue, one.entry, f"the queue's entry {reason}")
        if is_kept:
            source.forget_unreadable(one.queue, one.entry)
        return is_kept

    def _take(self, delivery: Delivery) -> None:
        if delivery.queue == UNDELIVERED:
            self._take_undelivered(delivery)
            return
        message = task_message(
            delivery.headers, delivery.body, delivery.content_type, delivery.content_encoding
        )
        if message.task == STOP_TASK:
            self._stops.add(delivery, message)
        elif message.task == DISPATCH_TASK:
            self._take_dispatch(delivery, message)
        else:  # Celery's own are open to anybody, too, and one of them runs for ever
            reason = f"unknown task {message.task!r}"
            self._refusing.refuse(delivery, message, NotRegistered(message.task), reason)

    def _take_undelivered(self, delivery: Delivery) -> None:
        """Whoever got it died, or lost its connection, too often: a person is to look at it."""
        queue = (delivery.headers or {}).get("x-first-death-queue")
        whole = delivery._replace(queue=queue if queue in LANE_QUEUES else delivery.queue)
        self._refusing.keep(
            whole, f"was delivered more than {DELIVERIES_MAX} times, and handled by nobody"
        )

    def _take_dispatch(self, delivery: Delivery, message: TaskMessage) -> None:
        ids = dispatched_ids(message.args, message.kwargs)
        if ids is None:
            self._refusing.keep(delivery, _NO_IDS)
        else:
            self._handover.add(ids)
            self._acknowledging.add(delivery)
