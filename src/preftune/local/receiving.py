"""Bytes that come in: to disk as they come, under their name only when they are whole and as announced."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from starlette.concurrency import run_in_threadpool

from preftune.local.refusal import Refused

_BLOCK = 2**20  # bytes


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


async def receive(
    chunks: AsyncIterator[bytes], path: Path, *, fits: Callable[[], object], checksum: str = ""
) -> tuple[int, str]:
    """Write a stream to a path and return its size and SHA-256; raise Refused when it is not what was announced.

    `fits` is asked on the server's loop when all bytes are there, right before the file gets its name, and may refuse.
    """
    part, digest, size = _beside(path), hashlib.sha256(), 0
    try:
        with part.open("wb") as file:
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
            await run_in_threadpool(_make_last, file)
        _check(size, digest, checksum)
        fits()
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return size, digest.hexdigest()


async def put_together(
    parts: Sequence[Path], path: Path, *, fits: Callable[[], object], size: int, checksum: str
) -> None:
    """Write the parts of an upload as one file; the rest is as in `receive`."""
    whole = _beside(path)
    try:
        came, digest = await run_in_threadpool(_joined, parts, whole)
        if came != size:
            raise Refused(f"the parts have {came} bytes in all; {size} were announced", param="parts")
        _check(came, digest, checksum)
        fits()
        whole.replace(path)
    finally:
        whole.unlink(missing_ok=True)


def _joined(parts: Sequence[Path], whole: Path) -> tuple[int, _Hash]:
    digest, came = hashlib.sha256(), 0
    with whole.open("wb") as file:
        for part in parts:
            with part.open("rb") as content:
                while block := content.read(_BLOCK):
                    digest.update(block)
                    came += len(block)
                    file.write(block)
        _make_last(file)
    return came, digest


def _beside(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")


def _make_last(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _check(size: int, digest: _Hash, checksum: str) -> None:
    if checksum and digest.hexdigest() != checksum:
        raise Refused(f"the {size} bytes that arrived do not have the announced SHA-256", param="checksum")
