"""Files that are there whole or not at all: written under a temporary name that becomes theirs at the end."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import IO

from preftune.errors import DataError

_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # what writing itself fails for, once the file is open


@contextmanager
def writing(target: str | Path, *others: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Give a file to write to, which becomes `target` when the block ends well, and is gone when it does not.

    `others` are files that are read or written at the same time. Raises DataError where the target is one of them, a
    folder or a device, or cannot be written.
    """
    target = Path(target)
    _refuse(target, others)
    part = target.with_name(f"{target.name}.{token_hex(4)}.part")  # a name that no file of the user has
    try:
        try:
            with part.open("xb") as file:
                yield file
            part.replace(target)
        except OSError as error:
            if error.filename not in (str(part), None) or (error.filename is None and error.errno not in _FULL):
                raise  # another file's or a connection's, read within the block
            reason = error.strerror or str(error)
            raise DataError(
                f"{target}: cannot be written ({reason}); see that its folder is there and yours"
            ) from error
    finally:
        with suppress(OSError):  # the folder is not there, or not ours
            part.unlink(missing_ok=True)


def jsonl_name(target: str | Path) -> Path:
    """Return the name of a file to write, which the hosted side takes as .jsonl alone; raise DataError for another."""
    target = Path(target)
    if target.suffix.lower() != ".jsonl" and not target.is_dir():
        raise DataError(
            f"{target}: expected a .jsonl file to write, found {target.suffix or 'no extension'}; rename it"
        )
    return target


def _refuse(target: Path, others: tuple[str | os.PathLike[str], ...]) -> None:
    if target.is_dir():
        raise DataError(f"{target}: expected the name of a file to write, found a folder; name a file in it")
    if target.exists() and not target.is_file():  # it would be replaced, not written to
        raise DataError(f"{target}: expected the name of a file to write, found a device or a pipe; name a file")
    if any(_is_same(target, Path(other)) for other in others):
        raise DataError(
            f"{target}: expected a file of its own, found one that is read or written as well; give it another name"
        )


def _is_same(first: Path, second: Path) -> bool:
    if os.path.realpath(first) == os.path.realpath(second):
        return True
    return first.exists() and second.exists() and first.samefile(second)
