"""Moving bytes: a file up in three steps, a checkpoint down and unpacked. Source: docs/wire.md, Upload and Download."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, NamedTuple
from urllib.parse import urljoin

import zstandard

from preftune.api.files import retrieve as retrieve_file
from preftune.api.fine_tuning import JobOrId
from preftune.api.fine_tuning import retrieve as retrieve_job
from preftune.api.models import File
from preftune.api.reading import id_of, path_id, read
from preftune.api.steps import Call, Flow, Request, Response
from preftune.errors import APIResponseValidationError, ConfigError, ConflictError, DataError, IntegrityError

_REDIRECTS = (301, 302, 303, 307, 308)  # replayed as PUT with the body
_MAX_HOPS = 20
_CHUNK = 1 << 20  # bytes
_MAX_UNPACKED = 64 * 2**30  # bytes; a bomb, not an adapter, is larger
_FILE_TYPES = ("jsonl", "csv", "parquet")


def upload(path: str | Path, *, purpose: str = "fine-tune") -> Flow[File]:
    """Upload a file and return it; the same content already there is not sent again.

    Raises DataError for what is no file, and what the API raises. `client.files.wait` tells when it has been read.
    """
    source: _Source = yield Call(_look_at, (Path(path),))
    form = {
        "purpose": purpose,
        "file_name": source.path.name,
        "file_type": source.file_type,
        "checksum": source.sha256,
    }
    try:
        opened = yield Request("POST", "/files", form=form, expect=_REDIRECTS, retry_conflict=False)
    except ConflictError as error:
        known = error.body.get("file_id") if isinstance(error.body, dict) else None
        if not known:
            raise
        return (yield from retrieve_file(str(known)))
    location, file_id = _where_to(opened)
    yield from _put(location, source)
    done = yield Request("POST", f"/files/{path_id(file_id, 'file')}/preprocess")
    return read(done, File)


def download(job: JobOrId, *, to: str | Path, checkpoint: str | None = None, step: int | None = None) -> Flow[Path]:
    """Download a checkpoint, unpack it into the folder `to` (made if missing), and return that folder.

    `checkpoint` is "adapter", "merged" or "model_output_path"; by default what the job trained. `step` names an
    intermediate one. Raises IntegrityError when what arrived is not what was promised; nothing is left then.
    """
    target = Path(to)
    if target.exists() and not target.is_dir():
        raise ConfigError(f"to={str(target)!r}: expected a folder or nothing, found a file; name a folder")
    if checkpoint is None:
        kind = (yield from retrieve_job(job)).training_type
        is_full = isinstance(kind, dict) and kind.get("type") == "Full"
        checkpoint = "model_output_path" if is_full else "adapter"
    params = {"ft_id": id_of(job, "job"), "checkpoint": checkpoint} | (
        {} if step is None else {"checkpoint_step": step}
    )
    folder: Path = yield Call(_scratch_beside, (target,))
    try:
        archive = folder / "archive"
        headers = {"accept": "application/octet-stream", "accept-encoding": "identity"}  # it is written as it comes
        response = yield Request("GET", "/finetune/download", params=params, headers=headers, into=archive)
        yield Call(_verify, (archive, response))
        yield Call(_unpack, (archive, folder / "unpacked"))
        yield Call(_move_into, (folder / "unpacked", target))
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # also when the flow is closed, where nothing may be yielded
    return target


class _Source(NamedTuple):
    path: Path
    sha256: str
    file_type: str


def _look_at(path: Path) -> _Source:
    """Return what the protocol wants to know before the first byte: the first of two readings."""
    if not path.is_file():
        raise DataError(
            f"{path}: expected a file, found {'a folder' if path.is_dir() else 'nothing there'}; check the path"
        )
    file_type = path.suffix.lower().removeprefix(".")
    if file_type not in _FILE_TYPES:
        raise DataError(
            f"{path}: expected one of .{', .'.join(_FILE_TYPES)}, found {path.suffix or 'no extension'!r}; convert it"
        )
    with path.open("rb") as file:
        return _Source(path, hashlib.file_digest(file, "sha256").hexdigest(), file_type)


def _where_to(opened: Response) -> tuple[str, str]:
    location, file_id = opened.headers.get("location", ""), opened.headers.get("x-together-file-id", "")
    if not location.startswith(("http://", "https://")) or not file_id:
        raise APIResponseValidationError(
            f"POST /files: expected an absolute Location and X-Together-File-Id, found {location[:9]!r}… and "
            f"{file_id!r}; is base_url an API of this kind?",
            method="POST",
            path="/files",
        )
    return location, file_id


def _put(location: str, source: _Source) -> Flow[None]:
    for _ in range(_MAX_HOPS):
        answer = yield Request("PUT", location, body=source.path, expect=_REDIRECTS)
        if answer.status not in _REDIRECTS:
            return
        location = _next_hop(location, answer)
    raise IntegrityError(
        f"upload of {source.path.name}: expected storage, found {_MAX_HOPS} redirects in a row; try again later"
    )


def _next_hop(location: str, answer: Response) -> str:
    """Return where a redirected PUT goes: another storage, never the API, and never from https down to http."""
    stated = answer.headers.get("location", "")
    hop = urljoin(location, stated)
    if not stated or not hop.startswith("https://" if location.startswith("https://") else ("http://", "https://")):
        where = location.partition("?")[0]
        raise APIResponseValidationError(
            f"PUT {where}: {answer.status}, expected a Location to go on to, found {stated.partition('?')[0]!r}; "
            "upload again",
            method="PUT",
            path=where,
        )
    return hop


def _scratch_beside(target: Path) -> Path:
    """Return a new folder on the same disk as the target, so that the end is a rename."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))


def _verify(archive: Path, response: Response) -> None:
    promised = response.headers.get("content-length")
    found = archive.stat().st_size
    if promised is not None and int(promised) != found:
        raise IntegrityError(f"download: expected {int(promised):,} bytes, found {found:,}; download it again")


def _unpack(archive: Path, into: Path) -> None:
    """Unpack a .tar.zst, .tar.gz or .tar; no path, link or device may leave the folder."""
    into.mkdir()
    try:
        with archive.open("rb") as raw, _decompressed(raw) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                _extract(tar, into)
            while stream.read(_CHUNK):  # to the end, where gzip keeps its checksum
                pass
    except (tarfile.TarError, zstandard.ZstdError, zlib.error, EOFError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the archive
        raise IntegrityError(f"download: expected a sound archive, found {error}; download it again") from None


def _decompressed(raw: BinaryIO) -> IO[bytes] | gzip.GzipFile:
    """Return what an archive holds, by its first bytes rather than by any name that a server chose."""
    magic = raw.read(4)
    raw.seek(0)
    if magic == zstandard.FRAME_HEADER:
        return zstandard.ZstdDecompressor().stream_reader(raw)
    return gzip.GzipFile(fileobj=raw) if magic[:2] == b"\x1f\x8b" else raw


def _extract(tar: tarfile.TarFile, into: Path) -> None:
    size = 0
    for member in tar:
        size += member.size
        if size > _MAX_UNPACKED:
            raise tarfile.TarError(f"more than {_MAX_UNPACKED:,} bytes")
        inside = PurePosixPath(member.name.lstrip("/"))
        if ".." in inside.parts or not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"{member.name!r}, which is neither a file nor a folder below the target")
        _place(tar, member, into / inside)


def _place(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    """Write one member; by hand, since tarfile's own filters came only with 3.11.4."""
    try:
        (place if member.isdir() else place.parent).mkdir(parents=True, exist_ok=True)
        source = tar.extractfile(member)
        if source is not None:  # a folder has no content
            with source, place.open("wb") as target:
                shutil.copyfileobj(source, target)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise tarfile.TarError(f"{member.name!r} as a file and as a folder") from None


def _move_into(unpacked: Path, target: Path) -> None:
    """Move files into place, each by a rename; other files of the target stay."""
    for file in sorted(path for path in unpacked.rglob("*") if path.is_file()):
        place = target / file.relative_to(unpacked)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.replace(place)
