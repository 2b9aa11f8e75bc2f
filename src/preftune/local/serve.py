"""The local server: a socket, a folder, a loop in a thread, a worker in a process, and their common end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from preftune.errors import LocalServerError
from preftune.local import limits
from preftune.local.store import Store

_HOST = "127.0.0.1"
_START_TIMEOUT = 30.0  # seconds; a cold disk needs a few
_END_TIMEOUT = 5.0  # seconds for the worker to see the end of its pipe
_FIRST_REST, _LONGEST_REST = 0.01, 5.0  # seconds before a dead worker begins again; each death doubles it


class LocalServer:
    """The hosted API on this machine: it validates, trains (a small embedded model), and keeps what it did.

    Use it as a context manager, or call `close()`. Without `data_dir` everything goes to a temporary folder that is
    removed at the end; with one, a later server goes on where this one stopped. `port` 0 takes a free one.
    Raises LocalServerError when the port is taken or the folder is in use or of another version.
    """

    def __init__(self, data_dir: str | Path | None = None, port: int = 0, *, api_key: str | None = None) -> None:
        self.api_key = api_key or f"local-{secrets.token_hex(8)}"
        if not self.api_key.isascii() or not self.api_key.isprintable() or " " in self.api_key:
            raise LocalServerError("api_key: expected printable ASCII without spaces; no client can send another")
        with contextlib.ExitStack() as undo:
            self.data_dir = Path(tempfile.mkdtemp(prefix="preftune-") if data_dir is None else data_dir)
            if data_dir is None:
                undo.callback(shutil.rmtree, self.data_dir, ignore_errors=True)
            undo.enter_context(_locked(self.data_dir))
            store = Store(self.data_dir)
            undo.callback(store.close)
            store.prepare()
            store.forgive()
            listening = undo.enter_context(_listening(port))
            self.port = listening.getsockname()[1]
            self._worker = _Worker(self.data_dir)
            undo.callback(self._worker.close)
            self._loop = _Loop(store, listening, api_key=self.api_key, wake=self._worker.wake)
            undo.callback(self._loop.close)
            self._undo = weakref.finalize(self, _undone, undo.pop_all(), os.getpid())  # also at the interpreter's end

    @property
    def url(self) -> str:
        """Return the base URL for a client."""
        return f"http://{_HOST}:{self.port}"

    def close(self) -> None:
        """End the loop and the worker; a running job goes on when a server opens the folder again."""
        self._undo()

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

    def __init__(self, store: Store, listening: socket.socket, *, api_key: str, wake: Any) -> None:
        import uvicorn  # noqa: PLC0415 - of the extra `local`

        from preftune.local.app import make_app  # noqa: PLC0415

        app = make_app(store, api_key=api_key, wake=wake)
        config = uvicorn.Config(app, log_config=None, log_level="error", access_log=False, timeout_graceful_shutdown=1)
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

    def __init__(self, folder: Path) -> None:
        self._folder, self._closing = folder, threading.Event()
        self._guard = threading.Lock()
        self._process = self._start()
        threading.Thread(target=self._keep, name="preftune-worker-keeper", daemon=True).start()

    def wake(self) -> None:
        """Tell the worker that a job waits; a dead one is told when it begins again, by looking."""
        with self._guard, contextlib.suppress(BrokenPipeError, ValueError):
            assert self._process.stdin is not None  # noqa: S101 - it was asked for
            self._process.stdin.write(b"\n")

    def close(self) -> None:
        with self._guard:
            self._closing.set()
            assert self._process.stdin is not None  # noqa: S101
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(_END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "preftune.local.runner", str(self._folder)],
            stdin=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **limits.ONE_THREAD},
            start_new_session=True,  # Ctrl-C in the terminal is the server's to handle
        )

    def _keep(self) -> None:
        rest = _FIRST_REST
        while True:
            self._process.wait()
            self._closing.wait(rest)
            rest = min(2 * rest, _LONGEST_REST)
            with self._guard:
                if self._closing.is_set():
                    return
                assert self._process.stdin is not None  # noqa: S101
                self._process.stdin.close()
                self._process = self._start()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder against other servers."""
    if folder.exists() and not folder.is_dir():
        raise LocalServerError(f"{folder}: expected a folder for the server's data, found a file; choose another")
    try:
        folder.mkdir(parents=True, exist_ok=True)
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


def _listening(port: int) -> socket.socket:
    """Return a listening socket, made with IPPROTO_TCP: without it asyncio leaves Nagle's delay on (44 ms a call)."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((_HOST, port))
    except (OSError, OverflowError) as error:
        listening.close()
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "is taken; stop what listens there, or" if taken else f"cannot be used, {error};"
        raise LocalServerError(f"port {port}: {reason} choose another (0 takes a free one)") from None
    listening.listen(128)
    return listening
