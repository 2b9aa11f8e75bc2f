"""Python processes that calls are handed to, as a `concurrent.futures.Executor`.

The standard pool either forks, which is unsafe beside threads, or imports the caller's script again, which runs a
script without a main guard once more in every process. Here each thread of a pool starts a fresh interpreter that
imports nothing but this package, and sends it one call after the other over a pipe.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any, TypeVar, cast

T = TypeVar("T")
_START = "from preftune.pairs.processes import serve; serve()"


class Processes(ThreadPoolExecutor):
    """At most `count` processes, each started with its first call and ended with the executor."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self._own = threading.local()
        self._started: list[subprocess.Popen[bytes]] = []

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have the call made in another process; function, arguments and result are pickled."""
        return super().submit(self._call, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - Executor's
        """End the processes, once the calls under way are done."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        for process in self._started:
            process.communicate()  # the end of its input is the end of the process

    def _call(self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        process = self._process()
        sending, receiving = cast("tuple[IO[bytes], IO[bytes]]", (process.stdin, process.stdout))
        pickle.dump((fn, args, kwargs), sending)
        sending.flush()
        result, error = pickle.load(receiving)  # noqa: S301 - our own process wrote it
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def _process(self) -> subprocess.Popen[bytes]:
        """Return this thread's process."""
        if not hasattr(self._own, "process"):
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
            self._own.process = subprocess.Popen(  # noqa: S603 - this interpreter, and a constant
                [sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
            )
            self._started.append(self._own.process)
        return self._own.process  # type: ignore[no-any-return]


def serve() -> None:
    """Make the calls that come in on standard input and answer them on standard output, until the input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    sys.stdout = sys.stderr  # what a called function prints is no answer
    while True:
        try:
            fn, args, kwargs = pickle.load(sys.stdin.buffer)  # noqa: S301 - the parent wrote it
        except (EOFError, KeyboardInterrupt):
            return
        try:
            answer: tuple[Any, Exception | None] = (fn(*args, **kwargs), None)
        except Exception as error:  # noqa: BLE001 - it is raised in the parent
            answer = (None, error)
        pickle.dump(answer, answers)
        answers.flush()
