"""Sees every outcome that is written: one for each request, which must not change."""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from redis.exceptions import RedisError

from stopline.ledger import keys
from stopline.ledger.queries import parse_result

if TYPE_CHECKING:
    from tests.fault.topology import Topology


class Witness:
    """Listens to the results backend's channels; an outcome is published as it is written."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seen: defaultdict[str, list[bytes]] = defaultdict(list)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def doubled(self) -> list[str]:
        """Ids whose outcome was written twice, or is not the one that was first seen."""
        doubled = []
        with self._topology.server() as client:
            for request_id, outcomes in list(self.seen.items()):
                stored = client.get(keys.result(request_id))
                if len(outcomes) > 1 or stored != outcomes[0]:
                    doubled.append(request_id)
        return doubled

    def _run(self) -> None:
        while not self._stop.is_set():
            with suppress(RedisError, OSError):
                self._listen()
            self._stop.wait(0.05)

    def _listen(self) -> None:
        with self._topology.server() as client, client.pubsub() as channel:
            channel.psubscribe(keys.RESULT + "*")
            while not self._stop.is_set():
                message = channel.get_message(timeout=0.2)
                # What Celery writes of a task that it does not know is no outcome of a request.
                if message and message["type"] == "pmessage" and parse_result(message["data"]):
                    request_id = message["channel"].decode().removeprefix(keys.RESULT)
                    self.seen[request_id].append(message["data"])
