"""The storage: bytes are put and taken under signed addresses, without a key. Source: docs/wire.md, Upload."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from preftune.local.database import Record
from preftune.local.receiving import receive
from preftune.local.refusal import Refused
from preftune.local.sending import send_file
from preftune.local.signing import Signer
from preftune.local.store import Store


class StorageRoutes:
    """The handlers of the storage, over one store."""

    def __init__(self, store: Store, signer: Signer) -> None:
        self._store, self._signer = store, signer

    async def put_file(self, request: Request) -> Response:
        """Take the bytes of a file."""
        self._check(request)
        file_id = request.path_params["id"]
        checksum, path = self._awaited(file_id)["checksum"], self._store.file_path(file_id)
        size, digest = await receive(request.stream(), path, fits=lambda: self._awaited(file_id), checksum=checksum)
        self._store.set_file(file_id, bytes=size)
        return _stored(digest)

    async def put_part(self, request: Request) -> Response:
        """Take the bytes of one part of a file."""
        self._check(request)
        upload_id, number = request.path_params["id"], int(request.path_params["number"])
        self._open_upload(upload_id)
        path = self._store.upload_path(upload_id, number)
        _, digest = await receive(request.stream(), path, fits=lambda: self._open_upload(upload_id))
        self._store.add_part(upload_id, number, digest[:32])
        return _stored(digest)

    async def get_tokens(self, request: Request) -> Response:
        """Answer the tokens that a job was trained on, as a .tar.zst."""
        self._check(request)
        return await send_file(request, self._store.tokenized_path(request.path_params["id"]), "the tokenized data set")

    def _awaited(self, file_id: str) -> Record:
        """Return the file whose bytes are awaited, or raise Refused."""
        record = self._store.file(file_id)
        if record is None:
            raise Refused("the file of this storage address was deleted", status=403)
        if record["status"] != "PENDING":
            raise Refused(f"file {file_id} is complete; upload other content as another file", status=403)
        return record

    def _open_upload(self, upload_id: str) -> None:
        if self._store.upload(upload_id) is None:
            raise Refused("the upload of this storage address has ended", status=403)

    def _check(self, request: Request) -> None:
        self._signer.check(request.method, request.url.path, request.query_params)


def _stored(digest: str) -> Response:
    return Response(status_code=200, headers={"etag": f'"{digest[:32]}"'})
