"""Lanes: how urgent a request is."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Lane(StrEnum):
    """How urgent a request is; each lane is one Celery queue. In order of urgency."""

    EMERGENCY = "emergency"
    DEFAULT = "default"
    BULK = "bulk"

    @property
    def queue(self) -> str:
        """The name of the lane's Celery queue."""
        return f"stopline.{self.value}"

    @property
    def urgency(self) -> int:
        """A rank to compare lanes by: lower is more urgent."""
        return _URGENCY[self]


_URGENCY: Final = {lane: rank for rank, lane in enumerate(Lane)}
