"""Hosts on one machine: network namespaces with an address each, on one switch (iproute2)."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_IP = shutil.which("ip", path=os.defpath + ":/usr/sbin:/sbin")


def _ip(*words: str) -> None:
    assert _IP is not None
    subprocess.run([_IP, *words], check=True, capture_output=True)


def why_not() -> str | None:
    """Why this machine can have no such hosts, or None."""
    if _IP is None:
        return "there is no ip command (iproute2)"
    probe = f"stopline-probe-{os.getpid()}"
    try:
        _ip("netns", "add", probe)
        _ip("-n", probe, "link", "add", "probe", "type", "bridge")
    except subprocess.CalledProcessError as error:
        return f"this machine allows no network namespaces: {error.stderr.decode().strip()}"
    finally:
        with suppress(subprocess.CalledProcessError):
            _ip("netns", "del", probe)
    return None


class Host:
    """A host: processes in it see its network only."""

    def __init__(self, namespace: str, switch: str, number: int) -> None:
        self.address = f"10.77.0.{number}"
        self._namespace = namespace
        self._switch = switch
        self._cable = f"cable{number}"
        self._processes: list[subprocess.Popen[bytes]] = []
        _ip("netns", "add", namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")
        _ip(
            *("-n", switch, "link", "add", self._cable, "type", "veth"),
            *("peer", "name", "eth0", "netns", namespace),
        )
        _ip("-n", switch, "link", "set", self._cable, "master", "switch", "up")
        _ip("-n", namespace, "addr", "add", f"{self.address}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")

    def start(
        self, command: Sequence[str], environment: dict[str, str], log: Path, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start a process there."""
        assert _IP is not None
        with log.open("ab") as output:
            process = subprocess.Popen(
                [_IP, "netns", "exec", self._namespace, *command],
                env={**os.environ, **environment},
                stderr=output,
                start_new_session=True,
                **{"stdout": output, **options},
            )
        self._processes.append(process)
        return process

    def cut_off(self) -> None:
        """Pull its cable."""
        _ip("-n", self._switch, "link", "set", self._cable, "down")

    def connect(self) -> None:
        """Put it back."""
        _ip("-n", self._switch, "link", "set", self._cable, "up")

    def remove(self) -> None:
        for process in self._processes:
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
            process.wait()
        _ip("netns", "del", self._namespace)


class Hosts:
    """Hosts for as long as the context lasts."""

    def __init__(self) -> None:
        self._name = f"stopline-{os.getpid()}"
        self._exits = ExitStack()
        self._count = 0

    def __enter__(self) -> Self:
        reason = why_not()
        if reason is not None:
            pytest.skip(reason)
        switch = f"{self._name}-switch"
        _ip("netns", "add", switch)
        self._exits.callback(_ip, "netns", "del", switch)
        _ip("-n", switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", switch, "link", "set", "switch", "up")
        return self

    def add(self) -> Host:
        """One more."""
        self._count += 1
        host = Host(f"{self._name}-{self._count}", f"{self._name}-switch", self._count)
        self._exits.callback(host.remove)
        return host

    def __exit__(self, *_: object) -> None:
        self._exits.close()
