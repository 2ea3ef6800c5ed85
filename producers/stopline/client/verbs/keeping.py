"""What services write down of themselves, and of messages that nobody can handle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopline.client.verbs.steps import Verb, run
from stopline.ledger import commands

if TYPE_CHECKING:
    from stopline.contract import Beat, Junk
    from stopline.ledger.limits import Limits


def beat(limits: Limits, said: Beat) -> Verb[None]:
    """Say that a process lives, and how it is."""
    yield from run(commands.beat(limits, said))


def leave(process_id: str) -> Verb[None]:
    """Say that a process has ended, on purpose."""
    yield from run(commands.leave(process_id))


def quarantine(limits: Limits, junk: Junk) -> Verb[None]:
    """Keep a message that nobody can handle."""
    yield from run(commands.quarantine(limits, junk))
