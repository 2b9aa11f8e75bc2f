"""Where a recipe of several steps stands: a small JSON file, so that a second call goes on there.

It belongs to one set of arguments, is written after each step, as a whole, and locked while a call uses it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preftune.errors import ConfigError

if TYPE_CHECKING:
    from filelock import BaseFileLock

_VERSION = 1


def fingerprint(arguments: Mapping[str, Any]) -> str:
    """Return what tells one set of plain arguments from another."""
    return hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()


def content_of(file: Path | None) -> str | None:
    """Return what tells one file's content from another's."""
    if file is None:
        return None
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


class State:
    """What has been done, by the name of the step; in memory alone where there is no file."""

    def __init__(self, path: Path | None, arguments: Mapping[str, Any]) -> None:
        self._path, self._arguments = path, fingerprint(arguments)
        self._done: dict[str, Any] = {}
        self._lock: BaseFileLock | None = None

    def open(self) -> None:
        """Read what an earlier call did.

        Raises ConfigError when another call is at it, or the file belongs to other arguments or is none of ours.
        """
        if self._path is None:
            return
        from filelock import FileLock, Timeout  # noqa: PLC0415 - only calls that can be gone on with need it

        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # not of one thread: the asynchronous driver opens in a thread of its pool and closes on its loop
        self._lock = FileLock(f"{self._path}.lock", blocking=False, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout:
            raise ConfigError(f"state {self._path}: expected to be alone, found another call at it; wait") from None
        if self._path.exists():
            self._done = self._read(self._path)

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            whose, done = found["arguments"], dict(found["done"])
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"state {path}: expected what a call like this left, found other text; move it") from None
        if whose != self._arguments or found.get("version") != _VERSION:
            raise ConfigError(
                f"state {path}: expected the state of this data and configuration, found that of another; "
                "name another file, or remove it"
            )
        return done

    def get(self, step: str) -> str:
        """Return what a step gave; nothing for one that has not been done."""
        return str(self._done.get(step) or "")

    def set(self, **done: str) -> None:
        """Note what steps gave, together; on disk before this returns."""
        self._done.update(done)
        if self._path is None:
            return
        text = json.dumps({"version": _VERSION, "arguments": self._arguments, "done": self._done}, indent=1)
        part = self._path.with_name(f"{self._path.name}.part")
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(file)
        part.replace(self._path)

    def close(self) -> None:
        """Let another call at it."""
        if self._lock is not None:
            self._lock.release()
