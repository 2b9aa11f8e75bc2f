"""The ledger: which jobs this machine asked for, a line of JSON each, so that a lost kernel loses no job.

It stands in the user's state folder (PREFTUNE_STATE_DIR, `state_dir=`; empty switches it off), readable by its owner
alone, and holds no key of any service. What is in it is never changed, only added to. A ledger that cannot be written
is told once in the log, and keeps nobody from training. What the entries mean stands in `api.history`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filelock import BaseFileLock

_log = logging.getLogger("preftune")
_lock = threading.Lock()  # a job is claimed once, by whichever client of this process


def state_folder(given: str | None) -> Path | None:
    """Return the folder that a client's `state_dir` names: the user's own for None, none when it is empty."""
    if given is None:
        from platformdirs import user_state_path  # noqa: PLC0415 - most processes never look it up

        return user_state_path("preftune", appauthor=False)
    return Path(given) if given else None


class Ledger:
    """The entries of one API: those on disk, by all processes of this user; without a disk, those of one client."""

    def __init__(self, state_dir: str | None, base_url: str) -> None:
        self._state_dir, self._base_url = state_dir, base_url
        self._kept: list[dict[str, Any]] = []  # what is not on disk
        self._held: set[str] = set()  # keys in use, where there is no disk to hold them
        self._is_told = False

    @cached_property
    def path(self) -> Path | None:
        """Return the file, if there is to be one."""
        folder = state_folder(self._state_dir)
        return folder and folder / "jobs.jsonl"

    def record(self, entry: Mapping[str, Any]) -> None:
        """Add an entry."""
        with _lock:
            self._add(entry)

    def claim(self, job: str, entry: Mapping[str, Any]) -> bool:
        """Add the entry that gives a job to a call, unless another call has it; return whether it was added."""
        with _lock, self._alone():
            if any(old.get("job") == job and old.get("key") != entry["key"] for old in self._entries()):
                return False
            self._add(entry)
            return True

    def hold(self, key: str) -> Callable[[], None] | None:
        """Hold an idempotency key against all calls of this machine; return what lets it go, or None if it is held."""
        name = hashlib.sha256(f"{self._base_url} {key}".encode()).hexdigest()[:32]
        try:
            lock = self._locked(f"keys/{name}.lock", blocking=False)
        except TimeoutError:
            return None
        if lock is not None:
            return lock.release
        with _lock:
            if name in self._held:
                return None
            self._held.add(name)
        return lambda: self._held.discard(name)

    def entries(self) -> list[dict[str, Any]]:
        """Return all entries for this API, oldest first."""
        with _lock:
            return self._entries()

    def _add(self, entry: Mapping[str, Any]) -> None:
        whole = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "base_url": self._base_url, **entry}
        try:
            if self.path is None:
                self._kept.append(whole)
            else:
                _append(self.path, json.dumps(whole) + "\n")
        except OSError as error:
            self._kept.append(whole)
            self._tell(error)

    def _entries(self) -> list[dict[str, Any]]:
        written = () if self.path is None else map(_parsed, self._lines(self.path))
        return [one for one in (*written, *self._kept) if one.get("base_url") == self._base_url]

    def _lines(self, path: Path) -> list[str]:
        try:
            return path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            self._tell(error)
            return []

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from reading and writing in between."""
        lock = self._locked("jobs.lock", blocking=True)
        try:
            yield
        finally:
            if lock is not None:
                lock.release()

    def _locked(self, name: str, *, blocking: bool) -> BaseFileLock | None:
        """Return a lock against all processes, taken; none where no file can be made. Raises TimeoutError if held."""
        if self.path is None:
            return None
        from filelock import FileLock, Timeout  # noqa: PLC0415 - most calls take no lock

        place = self.path.parent / name
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FileLock(place, blocking=blocking, thread_local=False)  # taken in a thread, let go outside
            return lock.acquire().lock if os.access(place.parent, os.W_OK) else None
        except Timeout:
            raise
        except OSError as error:
            self._tell(error)
            return None

    def _tell(self, error: OSError) -> None:
        if not self._is_told:
            _log.warning(
                "the ledger of jobs is not kept (%s); name a folder in PREFTUNE_STATE_DIR, or leave it empty", error
            )
        self._is_told = True


def _append(path: Path, line: str) -> None:
    """Write a line at once, so that lines of two processes stay whole, and to the disk; end one that was cut off."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read() == b"\n" else f"\n{line}"
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def _parsed(line: str) -> dict[str, Any]:
    """Return a line's entry; an empty one for a line that was cut off when a disk was full or the power went."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
