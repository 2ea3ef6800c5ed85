"""A simulated process: it goes on from step to step, and may die or stand still between two.

A dead process runs no code any more. Python cannot kill a task without running its `finally`, so
its steps never return instead: nothing that it does after its death reaches the world.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world import World


class Process:
    """One life of a process."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.died = asyncio.Event()
        self.heard_at = -1.0
        """When it last learned the ledger's time."""
        self._frozen_until = 0.0

    def tell(self, event: str) -> None:
        """Log what this process does."""
        self.world.tell(self.name, event)

    def die(self, why: str) -> None:
        """End it, between two steps."""
        if self.alive:
            self.tell(f"DIES {why}")
            self.alive = False
            self.died.set()

    async def boundary(self, where: str) -> bool:
        """The moment before or after a step; whether the process stood still in it."""
        world = self.world
        world.boundaries += 1
        if world.boundaries == world.crash_at or (self.alive and world.strikes("crash")):
            self.die(where)
        if self.alive and world.strikes("freeze"):
            seconds = world.random.choice([0.2, 1.0, 4.0, 8.0])
            self._frozen_until = max(self._frozen_until, world.monotonic() + seconds)
            self.tell(f"stands still for {seconds:g} s {where}")
        froze = False
        while self.alive and self._frozen_until > world.monotonic():
            froze = True
            await asyncio.sleep(self._frozen_until - world.monotonic())
        if not self.alive or world.over:
            await world.for_ever()
        return froze
