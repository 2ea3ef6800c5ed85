"""Runs one fault under load, and counts what became of everything that was accepted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from stopline import Lane, StopRequest
from stopline.contract import new_request_id
from stopline.errors import StoplineError
from stopline.ledger import keys
from tests.conftest import wait_until
from tests.fault.load import Load
from tests.fault.topology import Topology
from tests.fault.witness import Witness

if TYPE_CHECKING:
    from pathlib import Path

    from stopline import StopClient
    from tests.fault.faults import Fault

_CALM_S: Final = 3.0
_PROMPT_S: Final = 2.5
"""By a message it takes milliseconds, by a sweep at least five seconds."""
_WHOLE_LIMIT_S: Final = 90.0
_STUCK_LIMIT_S: Final = 120.0
_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a fault."""

    fault: str
    before: int
    during: int
    after: int
    outcomes: int
    stopped: int
    calls: int
    lost: int
    doubled: int
    stuck: int
    recovery_s: float

    @property
    def accepted(self) -> int:
        """Receipts in all."""
        return self.before + self.during + self.after


def run(fault: Fault, directory: Path) -> Row:
    """Strike, heal, wait until all is whole, and count."""
    with Topology(directory, rabbitmq=fault.rabbitmq) as topology:
        topology.start_workers(*fault.environments, everywhere=fault.everywhere)
        if fault.gateway:
            topology.start_gateway()
        with topology.client() as client:
            wait_until(lambda: is_prompt(client), what="workers", limit_s=90)
            with Witness(topology) as witness:
                return _run(fault, topology, client, witness)


def _run(fault: Fault, topology: Topology, client: StopClient, witness: Witness) -> Row:
    url = topology.gateway.url if topology.gateway else None
    with Load(topology, plain=not fault.loses_queues, gateway_url=url) as load:
        time.sleep(_CALM_S)
        struck_at = time.monotonic()
        fault.strike(topology)
        healed_at = time.monotonic()
        recovery_s = _until_whole(client, healed_at)
        time.sleep(_CALM_S)
    before, until_healed, all_ = load.count(struck_at), load.count(healed_at), load.count()
    stuck = wait_for_outcomes(topology)
    outcomes = outcomes_of(topology, list(load.receipts))
    kinds = [one for one in outcomes.values() if one is not None]
    return Row(
        fault=fault.name,
        before=before,
        during=until_healed - before,
        after=all_ - until_healed,
        outcomes=len(kinds),
        stopped=kinds.count("stopped"),
        calls=topology.api.total["calls"],
        lost=len(outcomes) - len(kinds) - stuck,
        doubled=len(witness.doubled()),
        stuck=stuck,
        recovery_s=recovery_s,
    )


def _until_whole(client: StopClient, healed_at: float) -> float:
    """Seconds until a request of each lane goes the quick way again: message, call, outcome."""
    while not is_prompt(client):
        if time.monotonic() - healed_at > _WHOLE_LIMIT_S:
            return float("inf")
    return time.monotonic() - healed_at


def is_prompt(client: StopClient) -> bool:
    return all(_probe(client, lane) for lane in Lane for _ in range(2))


def _probe(client: StopClient, lane: Lane) -> bool:
    request = StopRequest(user_id="probe", task_id=new_request_id(), lane=lane)
    try:
        receipt = client.stop_request(request)
        client.wait(receipt.request_id, _PROMPT_S)
    except StoplineError:
        return False
    return True


def wait_for_outcomes(topology: Topology) -> int:
    """Wait until nothing is open; how much still is when that does not come."""
    end = time.monotonic() + _STUCK_LIMIT_S
    with topology.server() as server:
        while open_ := sum(int(server.zcard(keys.due(lane))) for lane in Lane):
            if time.monotonic() > end:
                return open_
            time.sleep(0.1)
    return 0


def outcomes_of(topology: Topology, request_ids: list[str]) -> dict[str, str | None]:
    """The outcome of each id, or None."""
    found: dict[str, str | None] = {}
    with topology.server() as server:
        for first in range(0, len(request_ids), _PAGE):
            page = request_ids[first : first + _PAGE]
            values = server.mget([keys.result(one) for one in page])
            for request_id, raw in zip(page, values, strict=True):
                found[request_id] = orjson.loads(raw)["result"]["outcome"] if raw else None
    return found
