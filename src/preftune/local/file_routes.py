"""The routes of files: three ways up, and a lane in which what came is read. Source: docs/wire.md, Files."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, get_args

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from preftune.local import answers, limits
from preftune.local.database import Record
from preftune.local.faults import Faults
from preftune.local.reading import Json, envelope, integer, origin, read_form, read_json, text
from preftune.local.receiving import put_together, receive
from preftune.local.refusal import Refused
from preftune.local.sending import send_file
from preftune.local.signing import Signer
from preftune.local.store import Store

if TYPE_CHECKING:
    from preftune.local import wire

_CHECKSUM = re.compile("[0-9a-f]{64}")
_BLOCK = 2**20  # bytes
_log = logging.getLogger("preftune")


class _Known(Exception):  # noqa: N818 - control flow of one request
    """A file with this content is there already."""

    def __init__(self, file_id: str) -> None:
        super().__init__(file_id)
        self.file_id = file_id


class _Closing(Exception):  # noqa: N818 - control flow of one reading
    """The server ends while a file is read."""


class FileRoutes:
    """The handlers of files, over one store."""

    def __init__(self, store: Store, signer: Signer, faults: Faults) -> None:
        self._store, self._signer, self._faults = store, signer, faults
        self._completing = asyncio.Lock()  # one upload in parts after another: a repeated request waits for the first
        self._closing = threading.Event()
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="preftune-validate")

    @asynccontextmanager
    async def life(self, _: Starlette) -> AsyncIterator[None]:
        """Leave no thread behind that reads files; those not begun wait for the next server."""
        yield
        self._closing.set()
        self._reading.shutdown(cancel_futures=True)

    async def list_files(self, _: Request) -> Response:
        """List all files."""
        found: wire.FileList = {"object": "list", "data": [answers.file(one) for one in self._store.files()]}
        return Json(found)

    async def get_file(self, request: Request) -> Response:
        """Retrieve a file."""
        return self._answer(self._file(request.path_params["id"]))

    async def delete_file(self, request: Request) -> Response:
        """Delete a file and its bytes."""
        record = self._file(request.path_params["id"])
        self._store.delete_file(record["id"])
        deleted: wire.DeletedFile = {"id": record["id"], "object": "file", "deleted": True}
        return Json(deleted)

    async def get_content(self, request: Request) -> Response:
        """Download the bytes of a file."""
        record = self._file(request.path_params["id"])
        return await send_file(request, self._store.file_path(record["id"]), f"the content of file {record['id']}")

    async def open_upload(self, request: Request) -> Response:
        """Begin an upload in three steps: say where to put the bytes."""
        async with read_form(request) as given:
            if isinstance(given.get("file"), UploadFile):  # a client that sends everything at once
                return await self._take(given)
            root = origin(request)
            try:
                record = self._announce(given)
            except _Known as known:
                return _conflict(known)
            location = root + self._signer.signed("PUT", f"/storage/files/{record['id']}")
            return Response(status_code=302, headers={"location": location, "x-together-file-id": record["id"]})

    async def upload(self, request: Request) -> Response:
        """Upload a file in one request."""
        async with read_form(request) as given:
            return await self._take(given)

    async def initiate(self, request: Request) -> Response:
        """Begin an upload in parts: say where to put each."""
        body, root = await read_json(request), origin(request)
        size = integer(body, "file_size", least=1, most=limits.MAX_FILE, needed=True)
        count = integer(body, "num_parts", least=1, most=limits.MAX_PARTS, needed=True)
        try:
            record = self._announce(body)
        except _Known as known:
            return _conflict(known)
        upload_id = _upload_of(record["id"])
        self._store.add_upload(upload_id, record["id"], size=size, parts=count)
        paths = [f"/storage/parts/{upload_id}/{number}" for number in range(1, count + 1)]
        parts: list[wire.Part] = [
            {"PartNumber": number, "URL": root + self._signer.signed("PUT", path), "Headers": {}}
            for number, path in enumerate(paths, start=1)
        ]
        begun: wire.Parts = {"upload_id": upload_id, "file_id": record["id"], "parts": parts}
        return Json(begun)

    async def complete(self, request: Request) -> Response:
        """End an upload in parts: put them together and read the file."""
        body = await read_json(request)
        async with self._completing:
            record, upload = self._upload(body)
            if upload is not None:  # else it was completed before, and the answer was lost
                _check_parts(body.get("parts"), upload)
                await self._put_together(record, upload)
        completed: wire.Completed = {"file": answers.file(self._file(record["id"]))}
        return Json(completed)

    async def abort(self, request: Request) -> Response:
        """Give up an upload in parts."""
        record, upload = self._upload(await read_json(request))
        if upload is None:
            raise Refused(f"the upload of file {record['id']} is complete", param="upload_id")
        await run_in_threadpool(self._store.end_upload, upload["id"])
        self._store.delete_file(record["id"])
        aborted: wire.Aborted = {"upload_id": upload["id"], "aborted": True}
        return Json(aborted)

    async def preprocess(self, request: Request) -> Response:
        """End an upload in three steps: the file is complete, and is read in a lane of its own."""
        record = self._file(request.path_params["id"])
        if not self._store.file_path(record["id"]).is_file():
            raise Refused(f"file {record['id']} has no content yet; upload it first")
        self._begin_reading(record)
        return self._answer(self._file(record["id"]))

    def resume_validation(self) -> None:
        """Read the files that the last server took and did not finish reading."""
        for record in self._store.files():
            if record["status"] in ("QUEUED", "RUNNING"):
                self._reading.submit(self._validate, record["id"])

    async def _put_together(self, record: Record, upload: Record) -> None:
        paths = [self._store.upload_path(upload["id"], number) for number in range(1, upload["parts"] + 1)]
        try:
            await put_together(
                paths, self._store.file_path(record["id"]), fits=lambda: self._open(record["id"], upload["id"]),
                size=upload["size"], checksum=record["checksum"],
            )  # fmt: skip
        except FileNotFoundError:  # the parts go with a file that is deleted
            self._open(record["id"], upload["id"])
            raise
        self._begin_reading(record)
        await run_in_threadpool(self._store.end_upload, upload["id"])

    def _open(self, file_id: str, upload_id: str) -> None:
        """Raise Refused unless the file and its upload are still there."""
        self._file(file_id)
        if self._store.upload(upload_id) is None:
            raise Refused(f"there is no upload {upload_id}", param="upload_id", status=404)

    async def _take(self, given: Mapping[str, Any]) -> Response:
        """Take a file that came with its fields."""
        content = given.get("file")
        if not isinstance(content, UploadFile):
            raise Refused("file is missing; send it as a part of the form", param="file")
        try:
            record = self._announce({"file_name": content.filename} | {k: v for k, v in given.items() if v})
        except _Known as known:
            return _conflict(known)
        try:
            await receive(
                _blocks(content), self._store.file_path(record["id"]), fits=lambda: self._file(record["id"]),
                checksum=record["checksum"],
            )  # fmt: skip
        except Refused:
            self._store.delete_file(record["id"])
            raise
        self._begin_reading(record)
        return self._answer(self._file(record["id"]))

    def _announce(self, given: Mapping[str, Any]) -> Record:
        """Remember a file that is about to come. Raises Refused, or _Known when its content is there."""
        name = PurePosixPath((text(given, "file_name") or "").replace("\\", "/")).name
        checksum = (text(given, "checksum") or "").lower()
        purpose = text(given, "purpose") or "fine-tune"
        file_type = text(given, "file_type") or "jsonl"
        if name in ("", ".."):
            raise Refused("file_name is missing", param="file_name")
        if checksum and not _CHECKSUM.fullmatch(checksum):
            raise Refused(f"checksum is {checksum!r}; it must be a SHA-256 as 64 hex digits", param="checksum")
        if purpose not in get_args(limits.Purpose):
            raise Refused(f"purpose is {purpose!r}; it must be one of {_or(limits.Purpose)}", param="purpose")
        if file_type not in get_args(limits.FileType):
            raise Refused(f"file_type is {file_type!r}; it must be one of {_or(limits.FileType)}", param="file_type")
        if file_type == "csv" and purpose != "eval":
            raise Refused("file_type is 'csv', which only the purpose 'eval' takes; send jsonl", param="file_type")
        known = self._store.finished_upload(checksum, purpose)
        if known and not self._faults.awaits_file():
            raise _Known(known["id"])
        record: Record = {
            "id": f"file-{uuid.uuid4()}",
            "created_at": int(time.time()),
            "filename": name,
            "purpose": purpose,
            "file_type": file_type,
            "checksum": checksum,
        }
        self._store.add_file(record)
        return record

    def _begin_reading(self, record: Record) -> None:
        """Have a file read whose bytes are there, once; only training files are looked at."""
        if self._file(record["id"])["status"] != "PENDING":
            return
        size = self._store.file_path(record["id"]).stat().st_size
        tuned = record["purpose"] == "fine-tune"
        self._store.set_file(record["id"], status="QUEUED" if tuned else "COMPLETED", bytes=size)
        if tuned:
            self._reading.submit(self._validate, record["id"])

    def _validate(self, file_id: str) -> None:
        from preftune.local import validate  # noqa: PLC0415 - it brings NumPy, which no answer should wait for

        record = self._store.file(file_id)
        if record is None:
            return
        try:
            self._store.set_file(file_id, status="RUNNING")
            if self._faults.of_file():
                report = validate.invalid("Line 1: a fault on command: invalid-format", None)
            else:
                path = self._store.file_path(file_id)
                report = validate.report(path, record["filename"], record["file_type"], tick=self._look_for_the_end)
            status = "COMPLETED" if report["valid"] else "INVALID_FORMAT"
        except _Closing:
            return  # the next server reads it
        except Exception as error:  # noqa: BLE001 - whatever it was, the file is marked and its owner told
            _log.exception("file %s could not be read", file_id)
            report, status = {"valid": False, "error": str(error), "error_type": "FAILED"}, "FAILED"
        self._store.set_file(file_id, status=status, report=report)

    def _look_for_the_end(self) -> None:
        if self._closing.is_set():
            raise _Closing

    def _upload(self, body: Record) -> tuple[Record, Record | None]:
        """Return the file of an upload in parts, and the upload unless it has ended."""
        file_id, upload_id = text(body, "file_id", needed=True), text(body, "upload_id", needed=True)
        if upload_id != _upload_of(file_id):
            raise Refused(f"there is no upload {upload_id} of file {file_id}", param="upload_id", status=404)
        record, upload = self._file(file_id), self._store.upload(upload_id)
        if upload is None and record["status"] == "PENDING":
            raise Refused(f"there is no upload {upload_id}", param="upload_id", status=404)
        return record, upload

    def _file(self, file_id: str) -> Record:
        record = self._store.file(file_id)
        if record is None:
            raise Refused(f"there is no file {file_id}", param="id", status=404)
        return record

    def _answer(self, record: Record) -> Response:
        return Json(answers.file(record))


def _upload_of(file_id: str) -> str:
    return "upload-" + file_id.removeprefix("file-")


def _check_parts(given: object, upload: Record) -> None:
    """Raise Refused unless all parts of an upload have come, as they are given."""
    expected = {number: upload["etags"].get(number) for number in range(1, upload["parts"] + 1)}
    try:
        assert isinstance(given, list)  # noqa: S101 - as the next lines, it is one way not to be a list of parts
        said = {int(part["part_number"]): str(part["etag"]).strip('"') for part in given}
    except (AssertionError, KeyError, TypeError, ValueError):
        raise Refused("parts must be a list of objects with part_number and etag", param="parts") from None
    wrong = [number for number, etag in expected.items() if etag is None or said.get(number) != etag]
    if wrong or len(said) != len(expected):
        numbers = ", ".join(map(str, wrong)) or "those after the last"
        raise Refused(f"parts {numbers} have not come, or not with these entity tags", param="parts")


def _conflict(known: _Known) -> Response:
    refusal = envelope(409, "a file with this content already exists", code="file_exists")
    return Json(refusal | {"file_id": known.file_id}, 409, {"x-should-retry": "false"})


def _or(literal: object) -> str:
    return ", ".join(get_args(literal))


async def _blocks(content: UploadFile) -> AsyncIterator[bytes]:
    while block := await content.read(_BLOCK):
        yield block
