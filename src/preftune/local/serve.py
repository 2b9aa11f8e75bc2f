"""The local server: a socket, a folder, a loop in a thread, a worker in a process, and their common end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import math
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

from preftune.errors import LocalServerError
from preftune.local import limits
from preftune.local.clock import Clock, speed_of
from preftune.local.faults import Faults
from preftune.local.options import Options, RecordedRequest
from preftune.local.store import UNFINISHED, Store

_log = logging.getLogger("preftune")
_HOST = "127.0.0.1"
_START_TIMEOUT = 30.0  # seconds; a cold disk needs a few
_STARTS = 5  # a worker that did not begin this often is not waited for
_NICE = 5  # the server's answers come before the training, also on a machine with few cores
# what the worker's process runs: it imports from where we do, but its own libraries come before a user's folder
_BEGIN = f"""
import os, sys
os.nice({_NICE})
sys.path += [place for place in sys.argv[2:] if place not in sys.path]
from preftune.local.runner import main
main(sys.argv[1])
"""
_FIRST_REST, _LONGEST_REST = 0.01, 5.0  # seconds before a dead worker begins again; each death doubles it


class LocalServer:
    """The hosted API on this machine: it validates, trains (a small embedded model), and keeps what it did.

    Use it as a context manager, or call `close()`. Without `data_dir` everything goes to a temporary folder that is
    removed at the end; with one, a later server goes on where this one stopped. `port` 0 takes a free one; `host` is
    this machine alone unless it says otherwise. `speed` is that of the queue and of storing the model: "instant",
    "real", a factor, or 0 for a clock that only `turn` moves. `faults` are rules of what is to go wrong, see `faults`.
    `event_case` is "lower" or "upper", as clients of the first line want event types.
    Raises LocalServerError when the port is taken, the folder is in use or of another version, or an option is unfit.
    """

    def __init__(
        self,
        data_dir: str | Path | None = None,
        port: int = 0,
        *,
        host: str = _HOST,
        api_key: str | None = None,
        speed: str | float = "instant",
        faults: Iterable[str] = (),
        event_case: str = "lower",
    ) -> None:
        self.api_key = api_key or f"local-{secrets.token_hex(8)}"
        if not self.api_key.isascii() or not self.api_key.isprintable() or " " in self.api_key:
            raise LocalServerError("api_key: expected printable ASCII without spaces; no client can send another")
        if event_case not in ("lower", "upper"):
            raise LocalServerError(f"event_case: expected lower or upper, found {event_case!r}")
        if data_dir == "":
            raise LocalServerError("data_dir: expected a folder, found an empty text; leave it out for a temporary one")
        if not host:
            raise LocalServerError("host: expected an address, found an empty text; 0.0.0.0 listens on all")
        factor = speed_of(speed)
        self._options = options = Options(api_key=self.api_key, event_case=event_case)
        for rule in faults:
            options.faults.add(rule)
        with contextlib.ExitStack() as undo:
            self.data_dir = Path(tempfile.mkdtemp(prefix="preftune-") if data_dir is None else data_dir)
            if data_dir is None:
                undo.callback(shutil.rmtree, self.data_dir, ignore_errors=True)
            undo.enter_context(_locked(self.data_dir))
            self._store = store = Store(self.data_dir)
            undo.callback(store.close)
            store.prepare()
            store.sweep()
            store.forgive()
            self._clock = Clock(store)
            self._clock.start(factor)
            listening = undo.enter_context(_listening(host, port))
            self.host, self.port = host, listening.getsockname()[1]
            self._worker = _Worker(store)
            undo.callback(self._worker.close)
            self._loop = _Loop(store, options, listening, wake=self._worker.wake)
            undo.callback(self._loop.close)
            self._undo = weakref.finalize(self, _undone, undo.pop_all(), os.getpid())  # also at the interpreter's end

    @property
    def faults(self) -> Faults:
        """Return the rules of what is to go wrong: `server.faults.add("POST /fine-tunes 500 once")`."""
        return self._options.faults

    @property
    def requests(self) -> list[RecordedRequest]:
        """Return the requests so far, in the order of their answers; at most the last 2,000."""
        return list(self._options.requests)

    @property
    def unfinished(self) -> int:
        """Return how many jobs have not ended yet."""
        return self._open().unfinished()

    def turn(self, seconds: float) -> None:
        """Move the clock of the queue and of storing the model forward."""
        if not 0 <= seconds < math.inf:
            raise LocalServerError(f"turn: expected seconds of at least 0, found {seconds!r}; no clock goes back")
        self._open()
        self._clock.turn(seconds)
        self._worker.wake()

    @property
    def url(self) -> str:
        """Return the base URL for a client."""
        host = _HOST if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - named, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def close(self) -> None:
        """End the loop and the worker; a running job goes on when a server opens the folder again."""
        self._undo()

    def _open(self) -> Store:
        if not self._undo.alive:
            raise LocalServerError(f"{self!r}: the server is closed; open another on its folder")
        return self._store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"LocalServer(url={self.url!r}, data_dir={str(self.data_dir)!r})"


def _undone(undo: contextlib.ExitStack, owner: int) -> None:
    """Undo everything, unless this is a fork: the server is its parent's."""
    if os.getpid() == owner:
        undo.close()


class _Loop:
    """uvicorn on a thread of its own."""

    def __init__(self, store: Store, options: Options, listening: socket.socket, *, wake: Callable[[], None]) -> None:
        import uvicorn  # noqa: PLC0415 - of the extra `local`

        from preftune.local.app import make_app  # noqa: PLC0415
        from preftune.local.gates import Breakable  # noqa: PLC0415

        app = Breakable(make_app(store, options, wake=wake))
        config = uvicorn.Config(
            app, http="h11", ws="none", loop="asyncio", log_config=None, log_level="error", access_log=False,
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listening],), name="preftune-server", daemon=True
        )
        self._thread.start()
        self._await_start()

    def _await_start(self) -> None:
        pause = threading.Event()
        for _ in range(int(_START_TIMEOUT / 0.005)):
            if self._server.started:
                return
            if not self._thread.is_alive():
                break
            pause.wait(0.005)
        raise LocalServerError("the local server did not start; look at the lines above")

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()


class _Worker:
    """The worker's process, begun again when it dies; see `runner` for what ends it."""

    def __init__(self, store: Store) -> None:
        self._store, self._closing = store, threading.Event()
        self._guard = threading.Lock()
        self._process = self._start()
        self._keeper = threading.Thread(target=self._keep, name="preftune-worker-keeper", daemon=True)
        self._keeper.start()

    def wake(self) -> None:
        """Tell the worker that a job waits; a dead one is told when it begins again, by looking."""
        with self._guard, contextlib.suppress(BrokenPipeError, ValueError):
            assert self._process.stdin is not None  # noqa: S101 - it was asked for
            self._process.stdin.write(b"\n")

    def close(self) -> None:
        with self._guard:
            self._closing.set()
            self._process.kill()  # what it wrote is whole, whenever it ends
            assert self._process.stdin is not None  # noqa: S101
            self._process.stdin.close()
        self._keeper.join()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own module
            [
                sys.executable,
                "-P",
                "-c",
                _BEGIN,
                str(self._store.folder),
                *(str(Path(place).absolute()) for place in sys.path),
            ],
            stdin=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **limits.ONE_THREAD},
            start_new_session=True,  # Ctrl-C in the terminal is the server's to handle
        )

    def _keep(self) -> None:
        rest, failed = _FIRST_REST, 0
        while True:
            status = self._process.wait()
            self._closing.wait(rest)
            rest = min(2 * rest, _LONGEST_REST)
            with self._guard:
                if self._closing.is_set():
                    return
                assert self._process.stdin is not None  # noqa: S101
                self._process.stdin.close()
                failed = 0 if self._store.note("worker") == self._process.pid else failed + 1
                if failed >= _STARTS:
                    self._give_up(status)
                self._process = self._start()

    def _give_up(self, status: int) -> None:
        """End the jobs that wait for a worker that does not begin; the next job may find one that does."""
        message = f"The worker cannot start: it ended with status {status}; what it printed says why."
        _log.error("%s", message)
        for job in self._store.jobs():
            self._store.end_job(job["id"], expected=UNFINISHED, to="error", event="job_error", message=message)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder against other servers."""
    if folder.exists() and not folder.is_dir():
        raise LocalServerError(f"{folder}: expected a folder for the server's data, found a file; choose another")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "worker").open("a").close()  # the worker's lock; it could not tell anybody
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise LocalServerError(f"{folder}: cannot be written, {error.strerror}; choose another folder") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalServerError(
                f"{folder}: another local server uses this folder; stop it, or choose another"
            ) from None
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # closing alone would leave it to a fork that holds a copy


def _listening(host: str, port: int) -> socket.socket:
    """Return a listening socket, made with IPPROTO_TCP: without it asyncio leaves Nagle's delay on (44 ms a call)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError, TypeError, UnicodeError) as error:
        listening.close()
        place = f"port {port}" if host == _HOST else f"{host}, port {port}"
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "is taken; stop what listens there, or" if taken else f"cannot be used, {_reason(error)};"
        raise LocalServerError(f"{place}: {reason} choose another (port 0 takes a free one)") from None
    listening.listen(128)
    return listening


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
