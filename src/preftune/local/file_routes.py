"""The routes of files: three steps up, and a lane in which what came is read. Source: docs/wire.md, Files."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import time
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import PurePosixPath

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from preftune.local import answers, validate
from preftune.local.admission import Refused
from preftune.local.reading import envelope, read_form
from preftune.local.store import Record, Store

_log = logging.getLogger("preftune")


class FileRoutes:
    """The handlers of files, over one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="preftune-validate")

    @asynccontextmanager
    async def life(self, _: Starlette) -> AsyncIterator[None]:
        """Leave no thread behind that reads files; those not begun wait for the next server."""
        yield
        self._reading.shutdown(cancel_futures=True)

    async def list_files(self, _: Request) -> Response:
        """Answer all files."""
        return JSONResponse({"object": "list", "data": [answers.file(one) for one in self._store.files()]})

    async def get_file(self, request: Request) -> Response:
        """Answer one file."""
        return JSONResponse(answers.file(self._file(request)))

    async def delete_file(self, request: Request) -> Response:
        """Forget a file and its bytes."""
        record = self._file(request)
        self._store.delete_file(record["id"])
        return JSONResponse({"id": record["id"], "object": "file", "deleted": True})

    async def get_content(self, request: Request) -> Response:
        """Answer the bytes of a file."""
        record = self._file(request)
        path = self._store.file_path(record["id"])
        if not path.is_file():
            raise Refused(f"file {record['id']} has no content yet", status=404)
        return FileResponse(path, media_type="application/octet-stream")

    async def open_upload(self, request: Request) -> Response:
        """Answer the first of three steps: where to put the bytes."""
        given = await read_form(request)
        name = PurePosixPath((given.get("file_name") or "").replace("\\", "/")).name
        checksum = (given.get("checksum") or "").lower()
        file_type = given.get("file_type") or PurePosixPath(name).suffix[1:] or "jsonl"
        if name in ("", ".."):
            raise Refused("file_name is missing", param="file_name")
        if file_type not in ("jsonl", "csv", "parquet"):
            raise Refused(f"file_type is {file_type!r}; it must be jsonl, csv or parquet", param="file_type")
        purpose = given.get("purpose") or "fine-tune"
        known = self._store.finished_upload(checksum, purpose)
        if known:
            refusal = envelope(409, "a file with this content already exists", code="file_exists")
            return JSONResponse(refusal | {"file_id": known["id"]}, 409, {"x-should-retry": "false"})
        record: Record = {
            "id": f"file-{uuid.uuid4()}",
            "created_at": int(time.time()),
            "filename": name,
            "purpose": purpose,
            "file_type": file_type,
            "checksum": checksum,
            "token": secrets.token_urlsafe(24),
        }
        self._store.add_file(record)
        location = f"{request.url.scheme}://{request.url.netloc}/storage/{record['id']}?token={record['token']}"
        return Response(status_code=302, headers={"location": location, "x-together-file-id": record["id"]})

    async def receive(self, request: Request) -> Response:
        """Take the bytes of an upload: to disk as they come, under their name only when they are whole."""
        record = self._store.file(request.path_params["id"])
        token = request.query_params.get("token", "").encode()
        if record is None or not hmac.compare_digest(token, record["token"].encode()):
            raise Refused("the storage address is not valid", status=403)
        if record["status"] != "PENDING":
            raise Refused(f"file {record['id']} is complete; upload other content as another file", status=403)
        path = self._store.file_path(record["id"])
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        digest, size = hashlib.sha256(), 0
        try:
            with part.open("wb") as file:
                async for chunk in request.stream():
                    digest.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            if record["checksum"] and digest.hexdigest() != record["checksum"]:
                raise Refused(f"the {size} bytes that arrived do not have the announced SHA-256")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        self._store.set_file(record["id"], bytes=size)
        return Response(status_code=200, headers={"etag": f'"{digest.hexdigest()[:32]}"'})

    async def preprocess(self, request: Request) -> Response:
        """Answer the last step: the file is complete, and is read in a lane of its own."""
        record = self._file(request)
        if not self._store.file_path(record["id"]).is_file():
            raise Refused(f"file {record['id']} has no content yet; upload it first")
        if record["status"] == "PENDING" and record["purpose"] != "fine-tune":
            self._store.set_file(record["id"], status="COMPLETED")  # only training files are looked at
        elif record["status"] == "PENDING":
            self._store.set_file(record["id"], status="QUEUED")
            self._reading.submit(self._validate, record["id"])
        return JSONResponse(answers.file(self._file(request)))

    def resume_validation(self) -> None:
        """Read the files that the last server took and did not finish reading."""
        for record in self._store.files():
            if record["status"] in ("QUEUED", "RUNNING"):
                self._reading.submit(self._validate, record["id"])

    def _validate(self, file_id: str) -> None:
        record = self._store.file(file_id)
        if record is None:
            return
        try:
            self._store.set_file(file_id, status="RUNNING")
            report = validate.report(self._store.file_path(file_id), record["filename"])
            status = "COMPLETED" if report["valid"] else "INVALID_FORMAT"
        except Exception as error:  # noqa: BLE001 - whatever it was, the file is marked and its owner told
            _log.exception("file %s could not be read", file_id)
            report, status = {"valid": False, "error": str(error), "error_type": "FAILED"}, "FAILED"
        self._store.set_file(file_id, status=status, report=report)

    def _file(self, request: Request) -> Record:
        file_id = request.path_params["id"]
        record = self._store.file(file_id)
        if record is None:
            raise Refused(f"there is no file {file_id}", param="id", status=404)
        return record
