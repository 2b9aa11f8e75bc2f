"""The database of the local server: SQLite (WAL), one connection a thread.

Rule of this file: what is read and then written begins with BEGIN IMMEDIATE.
Source of the pragmas: https://www.sqlite.org/wal.html.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from preftune.errors import LocalServerError

VERSION = 2  # of the layout below; a folder of another is refused, never migrated behind a user's back
Record = dict[str, Any]

_SCHEMA = """
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE files (
    id TEXT PRIMARY KEY, created_at INTEGER NOT NULL, filename TEXT NOT NULL, bytes INTEGER NOT NULL,
    purpose TEXT NOT NULL, file_type TEXT NOT NULL, checksum TEXT NOT NULL,
    status TEXT NOT NULL, report TEXT
);
CREATE TABLE uploads (
    id TEXT PRIMARY KEY, file TEXT NOT NULL REFERENCES files ON DELETE CASCADE, size INTEGER NOT NULL,
    parts INTEGER NOT NULL
);
CREATE TABLE parts (
    upload TEXT NOT NULL REFERENCES uploads ON DELETE CASCADE, number INTEGER NOT NULL, etag TEXT NOT NULL,
    PRIMARY KEY (upload, number)
);
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, number INTEGER NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL, started_at TEXT,
    status TEXT NOT NULL, output_name TEXT NOT NULL, config TEXT NOT NULL, facts TEXT NOT NULL,
    attempts INTEGER NOT NULL, idempotency_key TEXT UNIQUE, queued_at REAL, ready_at REAL  -- of the clock; NULL: never
);
CREATE TABLE events (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, number INTEGER NOT NULL, created_at TEXT NOT NULL,
    type TEXT NOT NULL, level TEXT NOT NULL, message TEXT NOT NULL, step INTEGER NOT NULL,
    PRIMARY KEY (job, type, step, message)
);
CREATE TABLE metrics (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, step INTEGER NOT NULL, split TEXT NOT NULL,
    logged_at INTEGER NOT NULL, row TEXT NOT NULL, PRIMARY KEY (job, step, split)
);
CREATE TABLE checkpoints (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, step INTEGER NOT NULL, final INTEGER NOT NULL,
    created_at TEXT NOT NULL, PRIMARY KEY (job, step, final)
);
"""

_TABLES = ("notes", "files", "uploads", "parts", "jobs", "events", "metrics", "checkpoints")


class Database:
    """The tables of one folder; may be used by several threads and processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._threads = threading.local()
        self._opened: list[sqlite3.Connection] = []

    def is_made(self) -> bool:
        """Tell whether a server has used this folder before."""
        return (self.folder / "preftune.db").is_file()

    def prepare(self) -> None:
        """Make the tables in a new folder. Raises LocalServerError for one that is damaged or of another version."""
        try:
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
            tables = {row["name"] for row in self._all("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if found == 0 and not tables:
                self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
            elif found == VERSION:
                for table in _TABLES:
                    self._db.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()  # noqa: S608 - names of ours
        except sqlite3.Error as error:
            raise LocalServerError(
                f"{self.folder}: preftune.db cannot be read, {error}; choose another folder"
            ) from None
        if found not in (0, VERSION) or (found == 0 and tables):
            raise LocalServerError(
                f"{self.folder}: expected a data folder of version {VERSION}, found version {found}; "
                "choose another folder, or use the preftune that made this one"
            )

    def close(self) -> None:
        """Close the connections of all threads."""
        for connection in self._opened:
            connection.close()
        self._opened.clear()
        self._threads = threading.local()

    @property
    def _db(self) -> sqlite3.Connection:
        if not hasattr(self._threads, "db"):
            db = sqlite3.connect(self.folder / "preftune.db", timeout=30, isolation_level=None, check_same_thread=False)
            db.row_factory = sqlite3.Row
            self._threads.db = db
            self._opened.append(db)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")  # survives a process's death; a power cut loses the tail
            db.execute("PRAGMA foreign_keys = ON")
        return self._threads.db  # type: ignore[no-any-return]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # SQLite may have rolled back by itself
                self._db.execute("ROLLBACK")
            raise

    def _one(self, query: str, *values: Any) -> Record | None:
        found = self._db.execute(query, values).fetchone()
        return None if found is None else dict(found)

    def _all(self, query: str, *values: Any) -> list[Record]:
        return [dict(row) for row in self._db.execute(query, values)]
