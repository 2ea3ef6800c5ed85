"""Watching a batch until all of it has ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from stopline.errors import OutcomeTimeoutError

if TYPE_CHECKING:
    from rich.progress import Progress

    from stopline.client.sync_client import StopClient
    from stopline.contract import Batch

_LOOK_S: Final = 0.2


def watch_batch(
    client: StopClient, batch_id: str, progress: Progress, timeout_s: float | None
) -> Batch:
    """Show how many of a batch have ended, until all have.

    Raises:
        OutcomeTimeoutError: some have not, and the time is over.
        UnknownRequestError: there is no such batch.
    """
    end = None if timeout_s is None else time.monotonic() + timeout_s
    bar = progress.add_task("outcomes", total=None)
    while True:
        batch = client.batch(batch_id)
        ended = ", ".join(f"{count:,} {kind}" for kind, count in batch.outcomes.items() if count)
        progress.update(
            bar,
            completed=batch.total - batch.pending,
            total=batch.total,
            description=f"outcomes: {ended}" if ended else "outcomes",
        )
        if batch.pending == 0:
            return batch
        if end is not None and time.monotonic() >= end:
            raise OutcomeTimeoutError(
                f"{batch.pending} of {batch.total} have no outcome after {timeout_s:g} s; they go "
                f"on. Look again with 'stopline batch {batch_id} --watch'."
            )
        time.sleep(_LOOK_S)
