"""Files: everything but moving their bytes, which is `client.uploading` and `client.downloading`.

Source: docs/wire.md, Files.
"""

from __future__ import annotations

import builtins
import math
from typing import TypeAlias

from preftune.api.models import DeletedFile, File, ValidationReport
from preftune.api.polling import Patience, Pauses
from preftune.api.reading import path_id, read, read_list
from preftune.api.steps import Flow, Now, Request, Sleep
from preftune.errors import APIError, APITimeoutError, FileProcessingError

FileOrId: TypeAlias = File | str


def list() -> Flow[builtins.list[File]]:  # noqa: A001 - the name that SDKs of this API share
    """Return all files, in the server's order."""
    return read_list((yield Request("GET", "/files")), "data", File)


def retrieve(file: FileOrId) -> Flow[File]:
    """Return one file. Raises NotFoundError."""
    return read((yield Request("GET", f"/files/{path_id(file, 'file')}")), File)


def content(file: FileOrId) -> Flow[bytes]:
    """Return the bytes of a file, all at once."""
    headers = {"accept": "application/binary"}
    response = yield Request("GET", f"/files/{path_id(file, 'file')}/content", headers=headers)
    body: bytes = response.content
    return body


def delete(file: FileOrId) -> Flow[DeletedFile]:
    """Delete a file."""
    return read((yield Request("DELETE", f"/files/{path_id(file, 'file')}")), DeletedFile)


def wait(file: FileOrId, *, timeout: float | None = None, poll_interval: float | None = None) -> Flow[File]:
    """Return the file once the server has read and taken it; `timeout` and `poll_interval` are in seconds.

    Raises FileProcessingError, with the server's report, when it is refused, and APITimeoutError.
    """
    end = math.inf if timeout is None else (yield Now()) + timeout
    pauses, patience = Pauses(poll_interval), Patience(end)
    while True:
        try:
            current = yield from retrieve(file)
        except APIError as error:
            yield from patience.bear(error)
            continue
        patience.reset()
        if current.is_ready:
            return current
        if current.is_refused:
            raise FileProcessingError(_refusal(current), current.validation_report)
        left = math.inf if timeout is None else end - (yield Now())
        if left <= 0:
            raise APITimeoutError(
                f"file {current.id}: expected it to be read within {timeout:g} s, found {current.processing_status}; "
                "wait again, or look at it with client.files.retrieve()",
                method="GET",
                path=f"/files/{current.id}",
            )
        yield Sleep(min(pauses.after(progress=False), left))


def _refusal(file: File) -> str:
    report = file.validation_report
    reason = (report.error if isinstance(report, ValidationReport) else report) or "the server gave no reason"
    return f"file {file.id} ({file.filename}): {file.processing_status}, {reason}; mend it and upload it again"
