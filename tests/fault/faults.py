"""The faults: each strikes a topology under load, and is over when it returns."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import psutil

from stopline import Lane, OutcomeKind, Settings
from stopline.contract import Guard, GuardLimit
from stopline.errors import UnknownRequestError
from tests.fault.proxy import Mode, Proxy
from tests.support.odd_messages import ODD_ENTRIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopline import StopClient
    from tests.fault.topology import Topology

_LEASE_S: Final = Settings.load().lease_s
_BULK_LINES: Final = 20_000


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        name: what people call it.
        strike: does it, and returns when it is over.
        environments: variables of each worker's own.
        everywhere: variables of all workers.
        loses_queues: plain messages that no worker has accepted are lost with the queues.
        rabbitmq: whether a RabbitMQ is the broker.
        gateway: whether there is a gateway, and clients of it.
    """

    name: str
    strike: Callable[[Topology], None]
    environments: tuple[dict[str, str], ...] = field(default=())
    everywhere: dict[str, str] = field(default_factory=dict)
    loses_queues: bool = False
    rabbitmq: bool = False
    gateway: bool = False


# --- processes ---------------------------------------------------------------------------------


def _kill_engines(topology: Topology) -> None:
    for worker in topology.workers * 2:
        worker.send(signal.SIGKILL, main=False)
        time.sleep(1.5)


def _kill_workers(topology: Topology) -> None:
    for worker in topology.workers:
        worker.send(signal.SIGKILL)
        time.sleep(2)


def _freeze_worker(topology: Topology) -> None:
    """Longer than its leases: what it settles afterwards must change nothing."""
    frozen = topology.workers[0].processes
    for process in frozen:
        process.suspend()
    time.sleep(_LEASE_S + 4)
    for process in frozen:
        process.resume()


def _terminate_in_turn(topology: Topology) -> None:
    for _ in range(3):
        for worker in topology.workers:
            worker.send(signal.SIGTERM, engines=False)
            time.sleep(2.5)


def _kill_bulk(topology: Topology) -> None:
    """A producer in the middle of a file; the same command again completes it."""
    file = topology.directory / "targets.csv"
    lines = [f"f,{number}" for number in range(_BULK_LINES)]
    file.write_text("\n".join(["user_id,task_id", *lines]) + "\n")
    command = [sys.executable, "-m", "stopline.cli", "bulk", str(file), "--batch-id", "killed"]
    environment = topology.environment(proxied=False)
    with topology.client() as client:
        first = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        while _total(client, "killed") < _BULK_LINES // 4:
            assert first.poll() is None
            time.sleep(0.005)
        first.kill()
        first.wait()
        assert _total(client, "killed") < _BULK_LINES
        subprocess.run(command, env=environment, check=True, capture_output=True)
        assert _total(client, "killed") == _BULK_LINES
        while client.batch("killed").pending:
            time.sleep(0.1)
        assert client.batch("killed").outcomes[OutcomeKind.STOPPED] == _BULK_LINES


def _total(client: StopClient, batch_id: str) -> int:
    with suppress(UnknownRequestError):
        return client.batch(batch_id).total
    return 0


# --- Redis -------------------------------------------------------------------------------------


def _kill_redis(topology: Topology) -> None:
    for away_s in (0.1, 2.0, 5.0):
        topology.valkey.kill()
        time.sleep(away_s)
        topology.valkey.start()
        time.sleep(2)


def _redis_away_for_40_s(topology: Topology) -> None:
    topology.valkey.kill()
    time.sleep(40)
    topology.valkey.start()


def _fill_redis(topology: Topology) -> None:
    with topology.server() as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]))
        time.sleep(10)
        client.config_set("maxmemory", 0)


def _flush_broker(topology: Topology) -> None:
    with topology.server(database=1) as client:
        for _ in range(3):
            client.flushdb()
            time.sleep(2)


def _kill_rabbitmq(topology: Topology) -> None:
    assert topology.rabbitmq is not None
    for away_s in (0.1, 5.0):
        topology.rabbitmq.kill()
        time.sleep(away_s)
        topology.rabbitmq.start()
        time.sleep(2)


def _freeze_rabbitmq(topology: Topology) -> None:
    assert topology.rabbitmq is not None
    topology.rabbitmq.freeze()
    time.sleep(40)
    topology.rabbitmq.thaw()


# --- network -----------------------------------------------------------------------------------


def _cut(proxy: Callable[[Topology], Proxy]) -> Callable[[Topology], None]:
    def strike(topology: Topology) -> None:
        for _ in range(10):
            proxy(topology).cut()
            time.sleep(0.7)

    return strike


def _during(
    proxy: Callable[[Topology], Proxy], mode: Mode, seconds: float
) -> Callable[[Topology], None]:
    def strike(topology: Topology) -> None:
        proxy(topology).set(mode)
        time.sleep(seconds)
        proxy(topology).set(Mode.PASS)

    return strike


def _api_away(seconds: float) -> Callable[[Topology], None]:
    def strike(topology: Topology) -> None:
        topology.to_api.set(Mode.REFUSE)
        topology.to_api.cut()
        time.sleep(seconds)
        topology.to_api.set(Mode.PASS)

    return strike


def _revoke_then_rotate(topology: Topology) -> None:
    """The old token is refused at once; the new one comes into its file five minutes later."""
    topology.api.rotate_token("another-t0ken")
    time.sleep(300)
    topology.token_file.write_text("another-t0ken")


def _odd_messages(topology: Topology) -> None:
    """Those that once wedged a worker, on all queues, forty a second."""
    with topology.server(database=1) as client:
        for _ in range(20):
            for lane in Lane:
                for entry in ODD_ENTRIES.values():
                    client.lpush(lane.queue, json.dumps(entry))
            time.sleep(1)


def _forget_connections(topology: Topology) -> None:
    """As a firewall does: silence on all there are, while new ones work (celery#8030, #8091)."""
    topology.to_redis.hold_existing()


def _half_a_reply(topology: Topology) -> None:
    """Each connection goes silent after 1,000 more bytes; what its channels carry is larger."""
    with topology.server(database=1) as client:
        channels = [*client.pubsub_channels(), b"/1.celery.pidbox"]
        topology.to_redis.hold_existing_after(1000)
        for channel in channels:
            client.publish(channel, b"x" * 4_000_000)


def _cut_often(topology: Topology) -> None:
    """Each reconnect must leave the loop polling (kombu#2492, celery#10205)."""
    for _ in range(25):
        topology.to_redis.cut()
        time.sleep(0.25)


# --- gate and guards ---------------------------------------------------------------------------


def _killed_while_away(topology: Topology) -> None:
    """The breaker opens; the workers that know of it die, and others probe."""
    topology.to_api.set(Mode.REFUSE)
    topology.to_api.cut()
    time.sleep(10)
    _kill_engines(topology)
    time.sleep(10)
    topology.to_api.set(Mode.PASS)


def _killed_while_paused(topology: Topology) -> None:
    """Every lane is paused by a person; engines and server die; the lanes go on."""
    with topology.client() as client:
        for lane in Lane:
            client.gate.pause_lane(lane, 600, reason="chaos", by="tester")
        time.sleep(3)
        _kill_engines(topology)
        topology.valkey.kill()
        topology.valkey.start()
        time.sleep(3)
    with topology.client() as client:
        for lane in Lane:
            assert client.gate.resume_lane(lane)


def _killed_while_held(topology: Topology) -> None:
    """A guard holds all that is new; engines and server die; a person lets it go."""
    everybody = Guard(source="*", limit=GuardLimit(requests=1, window_s=86_400))
    with topology.client() as client:
        client.guards.apply([everybody])
        time.sleep(5)
        _kill_engines(topology)
        topology.valkey.kill()
        topology.valkey.start()
        time.sleep(3)
    with topology.client() as client:
        assert client.guards.look().held > 0
        client.guards.apply([])
        held = [one.request_id for one in client.guards.held("*")]
        client.guards.release(held)


# --- clocks ------------------------------------------------------------------------------------


def _kill_gateway(topology: Topology) -> None:
    """One process after the other, then all of it; three times."""
    assert topology.gateway is not None
    for _ in range(3):
        for process in topology.gateway.processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
            time.sleep(1.5)
        topology.gateway.kill_all()
        time.sleep(3)


def _nothing(_topology: Topology) -> None:
    time.sleep(5)


def _skewed(hours: float) -> tuple[dict[str, str], ...]:
    directory = __file__.replace("faults.py", "skewed_clock")
    return ({"PYTHONPATH": directory, "SKEWED_CLOCK_S": str(hours * 3600)},)


def _to_redis(topology: Topology) -> Proxy:
    return topology.to_redis


def _to_rabbitmq(topology: Topology) -> Proxy:
    return topology.to_rabbitmq


def _to_api(topology: Topology) -> Proxy:
    return topology.to_api


FAULTS: Final = (
    Fault("kill -9 of each engine process, twice", _kill_engines),
    Fault("kill -9 of each whole worker", _kill_workers),
    Fault("kill -9 of a producer in the middle of bulk, then again", _kill_bulk),
    Fault("SIGSTOP of a worker beyond its leases, then SIGCONT", _freeze_worker),
    Fault("SIGTERM of each worker, three times (rolling restarts)", _terminate_in_turn),
    Fault("kill -9 of the server, three times, with restarts", _kill_redis),
    Fault("server away for 40 s", _redis_away_for_40_s),
    Fault("server full (maxmemory, noeviction) for 10 s", _fill_redis),
    Fault("FLUSHDB of the broker's database, three times", _flush_broker, loses_queues=True),
    Fault("connections to Redis cut, ten times", _cut(_to_redis)),
    Fault("connections to Redis cut, 25 times in 6 s", _cut_often),
    Fault("Redis black-holed for 12 s", _during(_to_redis, Mode.HOLE, 12)),
    Fault("Redis: commands black-holed for 12 s", _during(_to_redis, Mode.HOLE_TO_SERVER, 12)),
    Fault("Redis: replies black-holed for 12 s", _during(_to_redis, Mode.HOLE_TO_CLIENT, 12)),
    Fault("Redis slowed (150 ms each way) for 10 s", _during(_to_redis, Mode.SLOW, 10)),
    Fault("connections to Redis forgotten, new ones work", _forget_connections),
    Fault("connections to Redis silent in the middle of a reply", _half_a_reply),
    Fault("connections to the API cut, ten times", _cut(_to_api)),
    Fault("API black-holed for 10 s", _during(_to_api, Mode.HOLE, 10)),
    Fault("API: replies black-holed for 10 s", _during(_to_api, Mode.HOLE_TO_CLIENT, 10)),
    Fault("API slowed (150 ms each way) for 10 s", _during(_to_api, Mode.SLOW, 10)),
    Fault("API away for 60 s", _api_away(60)),
    Fault("API away for 10 minutes", _api_away(600)),
    Fault("token refused for 5 minutes, then rotated", _revoke_then_rotate),
    Fault(
        "API away with a breaker, kill -9 of engines meanwhile",
        _killed_while_away,
        everywhere={"STOPLINE_BREAKER": "20/50", "STOPLINE_MAX_CONCURRENT": "150"},
    ),
    Fault("all lanes paused, kill -9 of engines and server, let go on", _killed_while_paused),
    Fault("all that is new held by a guard, kill -9 of engines and server", _killed_while_held),
    Fault("odd messages under load, for 20 s", _odd_messages),
    Fault("clock of a worker one hour ahead", _nothing, _skewed(1)),
    Fault("clock of a worker one hour behind", _nothing, _skewed(-1)),
    Fault(
        "gateway: kill -9 of its processes, then of all, three times", _kill_gateway, gateway=True
    ),
    Fault("gateway: connections to Redis cut, ten times", _cut(_to_redis), gateway=True),
    Fault("gateway: Redis black-holed for 12 s", _during(_to_redis, Mode.HOLE, 12), gateway=True),
    Fault("RabbitMQ: kill -9 of the broker, twice, with restarts", _kill_rabbitmq, rabbitmq=True),
    Fault("RabbitMQ: connections cut, ten times", _cut(_to_rabbitmq), rabbitmq=True),
    Fault("RabbitMQ: the node stands still for 40 s", _freeze_rabbitmq, rabbitmq=True),
)
