"""Producers on a host of their own: a load until stdin ends, then what became of it, as JSON.

python -m tests.fault.far_producer ADDRESS_OF_REDIS PORT
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import orjson
import redis

from stopline import Settings, StopClient
from tests.conftest import wait_until
from tests.fault.chaos import is_prompt, outcomes_of, wait_for_outcomes
from tests.fault.load import Load
from tests.fault.witness import Witness


class _Far:
    """What a load and a witness need of a topology."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    def settings(self, *, proxied: bool) -> dict[str, Any]:  # noqa: ARG002  # there is no proxy
        url = f"redis://{self._host}:{self._port}/0"
        return {"redis_url": url, "broker_url": url}

    def client(self, *, proxied: bool = False) -> StopClient:  # noqa: ARG002  # the same
        return StopClient(Settings.load(redis_url=f"redis://{self._host}:{self._port}/0"))

    def server(self) -> redis.Redis:
        return redis.Redis(self._host, self._port, socket_timeout=5)


def main(host: str, port: str) -> None:
    """Load, wait, tell."""
    far: Any = _Far(host, int(port))
    with far.client() as client:
        wait_until(lambda: is_prompt(client), what="workers", limit_s=90)
        with Witness(far) as witness:
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            with Load(far) as load:
                sys.stdin.read()
            wait_until(lambda: is_prompt(client), what="workers", limit_s=90)
            stuck = wait_for_outcomes(far)
            found = outcomes_of(far, list(load.receipts))
            told = {
                "accepted": len(found),
                "outcomes": Counter(map(str, found.values())),
                "stuck": stuck,
                "doubled": witness.doubled(),
            }
    sys.stdout.write(orjson.dumps(told).decode() + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
