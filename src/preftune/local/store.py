"""What the local server remembers: a SQLite database (WAL) and files beside it, in one folder.

Rules of this file: transactions are short and hold no file work; a status changes only from what it is believed to be.
Rows, events and checkpoints have natural keys, so that writing one again changes nothing.

    <data_dir>/preftune.db      files, jobs, events, metrics, checkpoints
    <data_dir>/files/<id>       uploaded bytes
    <data_dir>/uploads/<id>/…   the parts of an upload in parts, by number
    <data_dir>/checkpoints/…    <job>/<step>.safetensors, the archives beside it, and where a running job stands
    <data_dir>/lock             held by the one server of this folder
    <data_dir>/worker           held by its worker, so that a successor waits for an orphan
"""

from __future__ import annotations

import json
import math
import re
import shutil
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from preftune.errors import LocalServerError
from preftune.local.database import Database, Record

UNFINISHED = ("pending", "queued", "running", "uploading", "cancel_requested")
_OURS = re.compile("((?:file|upload|ft)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:$|/|[.][0-9a-f]{8}[.]part$)")
_MARKS = ", ".join("?" * len(UNFINISHED))


def _iso_now() -> str:
    """Return the time as the wire writes it: ISO 8601, milliseconds, Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Store(Database):
    """The records of one folder, and where its files lie."""

    def prepare(self) -> None:
        """Make what is not there yet. Raises LocalServerError for a folder that is damaged or of another version."""
        for name in ("files", "uploads", "checkpoints"):
            try:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                place = self.folder / name
                raise LocalServerError(f"{place}: expected a folder, {error.strerror}; choose another folder") from None
        super().prepare()

    def file_path(self, file_id: str) -> Path:
        """Return where the bytes of a file lie."""
        return self.folder / "files" / file_id

    def checkpoint_path(self, job_id: str, step: int, suffix: str = ".safetensors") -> Path:
        """Return where the weights of a checkpoint lie, or its archive, by suffix."""
        return self.folder / "checkpoints" / job_id / f"{step}{suffix}"

    def upload_path(self, upload_id: str, number: int) -> Path:
        """Return where a part of an upload lies."""
        return self.folder / "uploads" / upload_id / str(number)

    def tokenized_path(self, job_id: str) -> Path:
        """Return where the tokens lie that a job was trained on."""
        return self.checkpoint_path(job_id, 0, ".tokenized.tar.zst")

    def sweep(self) -> None:
        """Remove what a server that died was taking, and bytes whose record is gone; only what is named as ours."""
        self._sweep("files", self.folder / "files")
        self._sweep("uploads", self.folder / "uploads")

    def sweep_checkpoints(self) -> None:
        """Remove what a worker that died was writing, and the checkpoints of jobs that are gone."""
        self._sweep("jobs", self.folder / "checkpoints")

    def _sweep(self, table: str, folder: Path) -> None:
        known = {row["id"] for row in self._all(f"SELECT id FROM {table}")}  # noqa: S608 - names of ours
        for path in [*folder.iterdir(), *folder.glob("*/*.part")]:
            ours = _OURS.match(path.relative_to(folder).as_posix())
            if ours and (ours[1] not in known or path.suffix == ".part"):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    # notes: what the server remembers of itself

    def note(self, name: str) -> Any:
        """Return a note, or None."""
        found = self._one("SELECT value FROM notes WHERE name = ?", name)
        return found and json.loads(found["value"])

    def set_note(self, name: str, value: Any) -> None:
        """Write a note, over what it was."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, json.dumps(value)))

    # files

    def add_file(self, record: Mapping[str, Any]) -> None:
        """Remember a file that is about to be uploaded."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO files VALUES "
                "(:id, :created_at, :filename, 0, :purpose, :file_type, :checksum, 'PENDING', NULL)",
                record,
            )

    def file(self, file_id: str) -> Record | None:
        """Return a file, its report read."""
        found = self._one("SELECT * FROM files WHERE id = ?", file_id)
        return found and _file(found)

    def files(self) -> list[Record]:
        """Return all files, newest first."""
        return [_file(row) for row in self._all("SELECT * FROM files ORDER BY created_at DESC, rowid DESC")]

    def finished_upload(self, checksum: str, purpose: str) -> Record | None:
        """Return the file with this content and purpose, when its upload is complete and it was not refused."""
        query = (
            "SELECT * FROM files WHERE checksum = ? AND checksum != '' AND purpose = ? "
            "AND status NOT IN ('PENDING', 'FAILED', 'INVALID_FORMAT')"
        )
        return self._one(query, checksum, purpose)

    def set_file(self, file_id: str, **fields: Any) -> bool:
        """Change fields of a file; tell whether it is there."""
        if "report" in fields:
            fields["report"] = json.dumps(fields["report"])
        with self._transaction():
            names = ", ".join(f"{name} = ?" for name in fields)
            query = f"UPDATE files SET {names} WHERE id = ?"  # noqa: S608 - names of ours
            return bool(self._db.execute(query, (*fields.values(), file_id)).rowcount)

    def delete_file(self, file_id: str) -> None:
        """Forget a file, its bytes, and the parts of it that have come."""
        with self._transaction():
            uploads = self._all("SELECT id FROM uploads WHERE file = ?", file_id)
            self._db.execute("DELETE FROM files WHERE id = ?", (file_id,))
        self.file_path(file_id).unlink(missing_ok=True)
        for upload in uploads:
            shutil.rmtree(self.upload_path(upload["id"], 0).parent, ignore_errors=True)

    # uploads in parts

    def add_upload(self, upload_id: str, file_id: str, *, size: int, parts: int) -> None:
        """Remember that a file will come in parts."""
        with self._transaction():
            self._db.execute("INSERT INTO uploads VALUES (?, ?, ?, ?)", (upload_id, file_id, size, parts))

    def upload(self, upload_id: str) -> Record | None:
        """Return an upload in parts, with the entity tags of those that have come, by number."""
        found = self._one("SELECT * FROM uploads WHERE id = ?", upload_id)
        tags = self._all("SELECT number, etag FROM parts WHERE upload = ? ORDER BY number", upload_id)
        return found and found | {"etags": {row["number"]: row["etag"] for row in tags}}

    def add_part(self, upload_id: str, number: int, etag: str) -> None:
        """Remember a part that is on disk already."""
        with self._transaction():
            if self._one("SELECT 1 FROM uploads WHERE id = ?", upload_id):
                self._db.execute("INSERT OR REPLACE INTO parts VALUES (?, ?, ?)", (upload_id, number, etag))

    def end_upload(self, upload_id: str) -> None:
        """Forget an upload and its parts."""
        with self._transaction():
            self._db.execute("DELETE FROM uploads WHERE id = ?", (upload_id,))
        shutil.rmtree(self.upload_path(upload_id, 0).parent, ignore_errors=True)

    # jobs

    def add_job(
        self,
        job_id: str,
        *,
        output_name: str,
        config: Record,
        facts: Record,
        idempotency_key: str | None = None,
        queued_at: float | None = 0.0,
        ready_at: float | None = 0.0,
    ) -> str:
        """Remember a new job, pending, and return its id; a known idempotency key returns the job that it made.

        `queued_at` and `ready_at` are times of the clock: when it is queued, and when it may run (None: never).
        """
        with self._transaction():
            known = self._one("SELECT id FROM jobs WHERE idempotency_key = ?", idempotency_key)
            if known:
                return str(known["id"])
            time_ = _iso_now()
            self._db.execute(
                "INSERT INTO jobs SELECT ?, ifnull(max(number), 0) + 1, ?, ?, NULL, 'pending', ?, ?, ?, 0, ?, ?, ? "
                "FROM jobs",
                (job_id, time_, time_, output_name, json.dumps(config), json.dumps(facts), idempotency_key, queued_at,
                 ready_at),
            )  # fmt: skip
            self._event(job_id, "job_pending", "The job was created.")
        return job_id

    def job(self, job_id: str) -> Record | None:
        """Return a job, its config and facts read."""
        found = self._one("SELECT * FROM jobs WHERE id = ?", job_id)
        return found and _job(found)

    def job_of_key(self, idempotency_key: str) -> Record | None:
        """Return the job that a request with this key made."""
        found = self._one("SELECT * FROM jobs WHERE idempotency_key = ?", idempotency_key)
        return found and _job(found)

    def job_named(self, name: str) -> Record | None:
        """Return the job with this id or this output name."""
        found = self._one("SELECT * FROM jobs WHERE id = ?1 OR output_name = ?1", name)
        return found and _job(found)

    def jobs(self) -> list[Record]:
        """Return all jobs, newest first."""
        return [_job(row) for row in self._all("SELECT * FROM jobs ORDER BY number DESC")]

    def ahead(self, record: Record) -> int:
        """Return how many unfinished jobs came before a job."""
        query = f"SELECT count(*) AS n FROM jobs WHERE number < ? AND status IN ({_MARKS})"  # noqa: S608 - marks only
        found = self._one(query, record["number"], *UNFINISHED)
        return int(found["n"]) if found else 0

    def unfinished(self) -> int:
        """Return how many jobs have not ended."""
        query = f"SELECT count(*) AS n FROM jobs WHERE status IN ({_MARKS})"  # noqa: S608 - marks only
        return int((self._one(query, *UNFINISHED) or {"n": 0})["n"])

    def progress(self, job_id: str) -> Record:
        """Return how far a job has come, counted from what it wrote: steps, evaluations, epochs; and its pace.

        `first` and `last` are the times of the first and the last training row, in nanoseconds.
        """
        counts = self._one(
            "SELECT ifnull(max(CASE split WHEN 'train' THEN step END), 0) AS steps, "
            "count(CASE split WHEN 'eval' THEN 1 END) AS evals, min(logged_at) AS first, max(logged_at) AS last, "
            "(SELECT count(*) FROM events WHERE job = ?1 AND type = 'epoch_complete') AS epochs "
            "FROM metrics WHERE job = ?1",
            job_id,
        )
        return counts or {}

    def forgive(self) -> None:
        """Forget how often workers died: a server that was stopped is no fault of its job."""
        with self._transaction():
            self._db.execute("UPDATE jobs SET attempts = 0")

    def next_job(self, now: float = math.inf) -> Record | None:
        """Return the oldest job that waits or that a dead worker left: it runs now, unless its end was asked for.

        Jobs whose time of the clock has come are queued on the way; one that is not ready yet is passed over.
        """
        with self._transaction():
            self._db.execute(
                "UPDATE jobs SET status = 'queued', updated_at = ? WHERE status = 'pending' AND queued_at <= ? "
                "AND (ready_at IS NULL OR ready_at > ?)",
                (_iso_now(), now, now),
            )
            found = self._one(
                f"SELECT id, status FROM jobs WHERE status IN ({_MARKS}) "  # noqa: S608 - marks only
                "AND (ready_at <= ? OR status NOT IN ('pending', 'queued')) ORDER BY number LIMIT 1",
                *UNFINISHED, now,
            )  # fmt: skip
            if found and found["status"] not in ("cancel_requested", "uploading"):
                self._begin(found["id"])
            return found and self.job(found["id"])

    def next_moment(self, now: float) -> float | None:
        """Return the next time of the clock at which a waiting job changes, or None."""
        found = self._one(
            "SELECT min(CASE WHEN queued_at > ?1 THEN queued_at ELSE ready_at END) AS moment FROM jobs "
            "WHERE status IN ('pending', 'queued') AND (queued_at > ?1 OR ready_at > ?1)",
            now,
        )
        return found["moment"] if found else None

    def _begin(self, job_id: str) -> None:
        """Set a job running; its attempts count from the last that came no further."""
        record = self.job(job_id) or {}
        steps, before = self.progress(job_id)["steps"], record["facts"].get("steps_at_start", -1)
        self._db.execute(
            "UPDATE jobs SET status = 'running', attempts = ?1, updated_at = ?2, started_at = ifnull(started_at, ?2) "
            "WHERE id = ?3",
            (1 if steps > before else record["attempts"] + 1, _iso_now(), job_id),
        )
        self._merge_facts(job_id, {"steps_at_start": max(steps, before)})

    def move_job(self, job_id: str, *, expected: tuple[str, ...], to: str, facts: Record | None = None) -> bool:
        """Change a status, if it still is one of the expected; tell whether it was."""
        with self._transaction():
            return self._move(job_id, expected, to, facts or {})

    def end_job(self, job_id: str, *, expected: tuple[str, ...], to: str, event: str, message: str) -> bool:
        """End a job together with the event that says why."""
        with self._transaction():
            moved = self._move(job_id, expected, to, {})
            if moved:
                self._event(job_id, event, message, level="error" if to in ("error", "user_error") else "info")
            return moved

    def status(self, job_id: str) -> str | None:
        """Return a job's status, or None when it was deleted."""
        found = self._one("SELECT status FROM jobs WHERE id = ?", job_id)
        return None if found is None else str(found["status"])

    def delete_job(self, job_id: str) -> None:
        """Forget a job and all that it made."""
        with self._transaction():
            self._db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))

    # what a job writes

    def add_event(self, job_id: str, type_: str, message: str, *, step: int = 0, level: str = "info") -> None:
        """Remember an event, once."""
        with self._transaction():
            self._event(job_id, type_, message, step=step, level=level)

    def add_row(self, job_id: str, *, step: int, split: str, row: Record) -> None:
        """Remember a row of metrics, once; JSON has no NaN, so it is null."""
        row = {name: value if math.isfinite(value) else None for name, value in row.items()}
        stamp = time.time_ns() // 1000 * 1000  # whole microseconds: a client's clock reads them back exactly
        with self._transaction():
            if self._one("SELECT 1 FROM jobs WHERE id = ?", job_id):
                values = (job_id, step, split, stamp, json.dumps({"timestamp": stamp} | row))
                self._db.execute("INSERT OR IGNORE INTO metrics VALUES (?, ?, ?, ?, ?)", values)

    def add_checkpoint(self, job_id: str, *, step: int, final: bool, message: str) -> None:
        """Remember a checkpoint whose file is on disk already, together with its event and where to go on from."""
        with self._transaction():
            if self._one("SELECT 1 FROM jobs WHERE id = ?", job_id):
                values = (job_id, step, final, _iso_now())
                self._db.execute("INSERT OR IGNORE INTO checkpoints VALUES (?, ?, ?, ?)", values)
                self._event(job_id, "checkpoint_save", message, step=step)
                self._merge_facts(job_id, {"trained": True} if final else {"resume_step": step})

    def events(self, job_id: str) -> list[Record]:
        """Return a job's events in order."""
        return self._all("SELECT * FROM events WHERE job = ? ORDER BY number", job_id)

    def metrics(self, job_id: str, *, from_step: int | None = None, to_step: int | None = None) -> list[Record]:
        """Return a job's rows as the wire writes them, in time; at one step training comes first."""
        rows = self._all(
            "SELECT row FROM metrics WHERE job = ? AND step >= ? AND step <= ? ORDER BY step, split DESC",
            job_id, from_step if from_step is not None else 0, to_step if to_step is not None else 1 << 62,
        )  # fmt: skip
        return [msgspec.json.decode(row["row"]) for row in rows]

    def checkpoints(self, job_id: str) -> list[Record]:
        """Return a job's checkpoints, newest first."""
        return self._all("SELECT * FROM checkpoints WHERE job = ? ORDER BY final DESC, step DESC", job_id)

    # parts of a transaction

    def _move(self, job_id: str, expected: tuple[str, ...], to: str, facts: Record) -> bool:
        marks = ", ".join("?" * len(expected))
        moved = self._db.execute(
            f"UPDATE jobs SET status = ?, updated_at = ? WHERE id = ? AND status IN ({marks})",  # noqa: S608 - marks only
            (to, _iso_now(), job_id, *expected),
        )
        if moved.rowcount and facts:
            self._merge_facts(job_id, facts)
        return bool(moved.rowcount)

    def _merge_facts(self, job_id: str, facts: Record) -> None:
        self._db.execute("UPDATE jobs SET facts = json_patch(facts, ?) WHERE id = ?", (json.dumps(facts), job_id))

    def _event(self, job_id: str, type_: str, message: str, *, step: int = 0, level: str = "info") -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO events SELECT ?1, ifnull((SELECT max(number) FROM events WHERE job = ?1), 0) + 1, "
            "?2, ?3, ?4, ?5, ?6 WHERE EXISTS (SELECT 1 FROM jobs WHERE id = ?1)",
            (job_id, _iso_now(), type_, level, message, step),
        )


def _file(row: Record) -> Record:
    return row | {"report": msgspec.json.decode(row["report"]) if row["report"] else None}


def _job(row: Record) -> Record:
    return row | {"config": msgspec.json.decode(row["config"]), "facts": msgspec.json.decode(row["facts"])}
