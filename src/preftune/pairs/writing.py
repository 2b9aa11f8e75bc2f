"""Files that are there whole or not at all: written under a temporary name that becomes theirs at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from preftune.errors import DataError


@contextmanager
def writing(target: str | Path, *sources: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Give a file to write to, which becomes `target` when the block ends well, and is gone when it does not.

    Raises DataError where the target is one of the sources, a folder, or cannot be written.
    """
    target = Path(target)
    if target.is_dir():
        raise DataError(f"{target}: expected the name of a file to write, found a folder; name a file in it")
    if any(target.exists() and Path(source).exists() and target.samefile(source) for source in sources):
        raise DataError(f"{target}: the file to write is the one that is read; give it another name")
    part = target.with_name(target.name + ".part")
    try:
        try:
            with part.open("wb") as file:
                yield file
            part.replace(target)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataError(
                f"{target}: cannot be written ({reason}); see that its folder is there and yours"
            ) from error
    finally:
        with suppress(OSError):  # the folder is not there, or not ours
            part.unlink(missing_ok=True)
