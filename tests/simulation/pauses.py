"""Paused batches in the simulation: what must hold of them.

(j) no attempt is granted for a request that paused batches alone asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stopline.ledger.commands.batches import Steered


class PauseChecks:
    """Knows who asked for each request, and which batches are paused."""

    def __init__(self) -> None:
        self._asked: dict[str, set[str | None]] = {}
        self._paused: set[str] = set()

    def asked(self, request_id: str, batch_id: str) -> None:
        """Somebody asked for a request, in a batch or ("") alone."""
        self._asked.setdefault(request_id, set()).add(batch_id or None)

    def steered(self, arguments: tuple[Any, ...], reply: Steered) -> str:
        """A batch was paused, or goes on; what to tell of that."""
        _options, batch_id, known = arguments
        if known and reply.was_paused is not None:
            self._paused.add(batch_id)
            return f"pauses {batch_id}"
        self._paused.discard(batch_id)
        return f"lets {batch_id} go on"

    def granted(self, request_id: str) -> str | None:
        """An attempt is granted anew: what is wrong with that."""
        asked = self._asked.get(request_id, {None})
        return f"{request_id} is of paused batches" if asked <= self._paused else None
