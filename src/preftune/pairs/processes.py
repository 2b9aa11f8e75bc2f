"""Python processes that calls are handed to, as a `concurrent.futures.Executor`.

The standard pool either forks, which is unsafe beside threads, or imports the caller's script again, which runs a
script without a main guard once more in every process. Here each thread of a pool starts a fresh interpreter that
imports nothing but this package, and sends it one call after the other over a pipe of its own, so that nothing which
is printed there can be taken for an answer. It needs POSIX: descriptors are inherited by number.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")
# -P: the current folder is no place for modules here, unless it is one for the caller
_START = ("-P", "-c", "import sys; from preftune.pairs.processes import serve; serve(*map(int, sys.argv[1:]))")
_PATIENCE = 5.0  # seconds for a lost process to end by itself
_END = pickle.dumps(None)  # sent in place of a call; the input's end is not enough, for a fork of ours may hold it open


class Processes(ThreadPoolExecutor):
    """At most `count` processes, each started with its first call and ended with the executor.

    A process that dies raises BrokenExecutor from the call it was making; the next call has a new one. `environment` is
    added to what the processes inherit.
    """

    def __init__(self, count: int, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(count)
        self._environment = dict(environment or {})
        self._own = threading.local()
        self._started: list[_Process] = []

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the processes; where an error ends the block, no call that waits is begun."""
        self.shutdown(cancel_futures=kind is not None)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have the call made in another process; function, arguments and result are pickled."""
        return super().submit(self._call, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - Executor's
        """End the processes, once the calls under way are done, which is always waited for."""
        super().shutdown(wait=True, cancel_futures=cancel_futures)
        while self._started:
            self._started.pop().end()

    def _call(self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        call = pickle.dumps((fn, args, kwargs))
        process = self._process()
        try:
            answer = process.ask(call)
        except BaseException:
            del self._own.process
            self._started.remove(process)
            raise
        result, error = pickle.loads(answer)  # noqa: S301 - our own process wrote it
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def _process(self) -> _Process:
        """Return this thread's process."""
        if not hasattr(self._own, "process"):
            self._own.process = _Process(self._environment)
            self._started.append(self._own.process)
        return self._own.process  # type: ignore[no-any-return]


def startable() -> bool:
    """Tell whether interpreters can be started here: on POSIX, and by one that is no frozen program."""
    return os.name == "posix" and bool(sys.executable) and not getattr(sys, "frozen", False)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Process:
    """A fresh interpreter, and the pipes to it and from it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109 - text
        calls, self._sending = os.pipe()
        self._receiving, answers = os.pipe()
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, and a constant
            (sys.executable, *_START, str(calls), str(answers)),
            stdin=subprocess.DEVNULL,
            pass_fds=(calls, answers),
            env=os.environ | {"PYTHONPATH": paths} | dict(environment),
        )
        os.close(calls)
        os.close(answers)
        self._calls, self._answers = os.fdopen(self._sending, "wb"), os.fdopen(self._receiving, "rb")
        self.pid = self._process.pid

    def ask(self, call: bytes) -> bytes:
        """Return the answer to a call; raise BrokenExecutor when the process is lost."""
        try:
            pickle.dump(call, self._calls)  # bytes: what cannot be read as a call is still read to its end
            self._calls.flush()
            answer: bytes = pickle.load(self._answers)  # noqa: S301 - our own process wrote it
        except BaseException as error:
            status = self._lost()
            if not isinstance(error, EOFError | OSError | pickle.UnpicklingError):
                raise
            found = f"process {self.pid}: expected an answer, found it ended with status {status}"
            raise BrokenExecutor(f"{found}; if memory ran out, use fewer workers") from None
        return answer

    def end(self) -> None:
        """Let the process end by itself, and wait for it."""
        with suppress(BrokenPipeError):
            self._calls.write(_END)
            self._calls.flush()
        self._close()
        self._process.wait()

    def _lost(self) -> int:
        """End a process that no longer answers, and return how it ended, by itself if it did."""
        self._close()
        try:
            return self._process.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _close(self) -> None:
        for pipe in (self._calls, self._answers):
            with suppress(BrokenPipeError):
                pipe.close()


def serve(calls: int, answers: int) -> None:
    """Make the calls that come in on one descriptor and answer them on another, until told to end."""
    os.dup2(2, 1)  # what a called function prints goes where errors go,
    sys.stdout.flush()  # what was printed before, too,
    sys.stdout = sys.stderr  # and at once
    with suppress(EOFError, KeyboardInterrupt), os.fdopen(calls, "rb") as asked, os.fdopen(answers, "wb") as answered:
        while (call := pickle.load(asked)) is not None:  # noqa: S301 - the parent wrote it
            pickle.dump(_answer(call), answered)
            answered.flush()


def _answer(call: bytes) -> bytes:
    """Return the result of a call and None, or None and its error, pickled."""
    try:
        fn, args, kwargs = pickle.loads(call)  # noqa: S301 - the parent wrote it
        return pickle.dumps((fn(*args, **kwargs), None))
    except Exception as error:  # noqa: BLE001 - it is raised in the parent
        return pickle.dumps((None, error))
