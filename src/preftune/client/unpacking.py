"""Unpacking what a server sent: no path, link or device may leave the folder, and nothing grows without measure."""

from __future__ import annotations

import gzip
import re
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

import zstandard

from preftune.errors import IntegrityError

_CHUNK = 1 << 20  # bytes
_MAX_UNPACKED = 64 * 2**30  # bytes; a bomb, not an adapter, is larger
_WINDOWS = re.compile(r"\\|^[A-Za-z]:")  # what leads out of a folder there
_END = 2 * tarfile.BLOCKSIZE  # bytes of zeros, at least, that every whole tar ends with


def unpack(archive: Path, into: Path) -> None:
    """Unpack a .tar.zst, .tar.gz or .tar into a new folder. Raises IntegrityError for an archive that is not sound."""
    into.mkdir()
    try:
        with archive.open("rb") as raw, _decompressed(raw) as stream:
            watched = _Watched(stream)
            with tarfile.open(fileobj=watched, mode="r|") as tar:  # type: ignore[call-overload]  # reading is all it needs
                _extract(tar, into)
            while watched.read(_CHUNK):  # to the end, where gzip keeps its checksum
                pass
            watched.expect_end(tar.offset)
    except (tarfile.TarError, zstandard.ZstdError, zlib.error, EOFError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the archive
        raise IntegrityError(f"download: expected a sound archive, found {error}; download it again") from None


class _Watched:
    """A stream that knows its end: to tarfile, one that is cut or broken between two members reads like a whole one."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile) -> None:
        self._stream = stream
        self._size = self._content = 0  # bytes so far, and without the zeros at the end

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        chunk = self._stream.read(size)
        if self._size + len(chunk) > _MAX_UNPACKED:
            raise tarfile.TarError(f"more than {_MAX_UNPACKED:,} bytes")
        content = chunk.rstrip(b"\0")
        if content:
            self._content = self._size + len(content)
        self._size += len(chunk)
        return chunk

    def expect_end(self, at: int) -> None:
        """Raise TarError unless nothing but zeros, and enough of them, stand behind the last member."""
        if self._content > at or self._size < at + _END:
            raise tarfile.TarError(f"its end is missing behind {at:,} bytes")


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
        if ".." in inside.parts or _WINDOWS.search(str(inside)) or not (member.isfile() or member.isdir()):
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


def move_into(unpacked: Path, target: Path) -> None:
    """Move files into place, each by a rename; other files of the target stay."""
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted(path for path in unpacked.rglob("*") if path.is_file()):
        place = target / file.relative_to(unpacked)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.replace(place)
