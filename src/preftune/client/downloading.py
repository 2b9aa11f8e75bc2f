"""A file on its way down: measured before, gone on with after every break, verified, and only then put in its place.

While a download runs, and after one that broke off and can be gone on with, what came so far stands in a hidden folder
beside the target; the next call, also of another process, goes on there. Every other failure leaves nothing. The bytes
in it belong to one entity tag: an answer with another is refused unread, and the download begins again.
Source: docs/wire.md, Upload and Download.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from preftune.api.files import FileOrId
from preftune.api.fine_tuning import JobOrId
from preftune.api.fine_tuning import retrieve as retrieve_job
from preftune.api.reading import id_of, path_id
from preftune.api.steps import Call, Flow, Into, Request, Response, Retries, Sleep
from preftune.api.transient import is_transient, pause
from preftune.client.unpacking import move_into, unpack
from preftune.errors import APIConnectionError, APIError, APIStatusError, ConfigError, IntegrityError

if TYPE_CHECKING:
    from filelock import BaseFileLock

Progress: TypeAlias = Callable[[int, int], None]  # bytes so far, bytes in all
_BEGINNINGS = 3  # times that an object may change under a download
_PARTIAL, _OUT_OF_RANGE = 206, 416
_RANGE = re.compile(r"bytes \d+-\d+/(\d+)")
_LONGEST_NAME = 200  # bytes; file systems end at 255
_LONGEST_LABEL = 100  # bytes; two of them stand in the name of a hidden folder
_ODD = re.compile(r"[^\w.+=@-]+")


def download(
    job: JobOrId,
    *,
    to: str | Path,
    checkpoint: str | None = None,
    step: int | None = None,
    extract: bool = True,
    progress: Progress | None = None,
) -> Flow[Path]:
    """Download a checkpoint, unpack it into the folder `to` (made if missing), and return that folder.

    `checkpoint` is "adapter", "merged" or "model_output_path"; by default what the job trained. `step` names an
    intermediate one. Without `extract` the archive itself is put into the folder, and its path returned. `progress` is
    told bytes so far and bytes in all. A download that broke off is gone on with by the next call for the same target.
    Raises IntegrityError when what arrived is not what was promised, and OSError when the disk is full.
    """
    target = Path(to)
    if target.exists() and not target.is_dir():
        raise ConfigError(f"to={str(target)!r}: expected a folder or nothing, found a file; name a folder")
    if checkpoint is None:
        kind = (yield from retrieve_job(job)).training_type
        is_full = isinstance(kind, dict) and kind.get("type") == "Full"
        checkpoint = "model_output_path" if is_full else "adapter"
    asked = {"ft_id": id_of(job, "job"), "checkpoint": checkpoint} | ({} if step is None else {"checkpoint_step": step})
    label = "-".join(str(part) for part in asked.values())
    source = Request("GET", "/finetune/download", params=asked, headers={"accept": "application/octet-stream"})

    def placed(scratch: Path, answer: Response) -> Path:
        if extract:
            unpack(scratch / "content", scratch / "unpacked")
            move_into(scratch / "unpacked", target)
            return target
        target.mkdir(parents=True, exist_ok=True)
        return (scratch / "content").replace(_free(target / _file_name(answer, f"{label}.tar.zst")))

    return (yield from _fetched(source, target, label, placed, progress))


def download_file(file: FileOrId, *, to: str | Path, progress: Progress | None = None) -> Flow[Path]:
    """Download an uploaded file to the path `to`, or into the folder `to` under its own name, and return its path.

    A name that is taken gets a number. After a break it is gone on with; it is verified, and put in its place at the
    end, as `fine_tuning.download` does.
    """
    target = Path(to)
    file_id = id_of(file, "file")
    source = Request("GET", f"/files/{path_id(file, 'file')}/content", headers={"accept": "application/binary"})

    def placed(scratch: Path, answer: Response) -> Path:
        place = _free(target / _file_name(answer, file_id)) if target.is_dir() else target
        return (scratch / "content").replace(place)

    return (yield from _fetched(source, target, file_id, placed, progress))


def _fetched(
    source: Request, target: Path, label: str, placed: Callable[[Path, Response], Path], progress: Progress | None
) -> Flow[Path]:
    """Bring what a request answers to disk, and have it put in its place."""
    scratch = _Scratch(target, label)
    keep = False
    try:
        yield Call(scratch.open)
        answer = yield from _arrived(source, scratch, progress)
        place: Path = yield Call(placed, (scratch.folder, answer))
    except APIError as error:
        keep = _can_go_on(error)
        raise
    except OSError as error:
        raise _plain(error, scratch.folder) from None
    except BaseException as error:
        keep = not isinstance(error, Exception)  # interrupted, not failed
        raise
    finally:
        scratch.close(keep=keep)  # also when the flow is closed, where nothing may be yielded
    return place


def _can_go_on(error: APIError) -> bool:
    """Tell whether a later call may bring the rest: also when a deadline was over, or the server asks for an hour."""
    return is_transient(error) or isinstance(error, APIConnectionError) or error.retry_after is not None


def _arrived(source: Request, scratch: _Scratch, progress: Progress | None) -> Flow[Response]:
    """Return the answer whose body stands in the scratch folder, whole and verified."""
    source = replace(source, headers={**source.headers, "accept-encoding": "identity"})  # it is written as it comes
    for beginning in range(_BEGINNINGS):
        answer, promise = yield from _probed(source, scratch)
        if promise is None:  # a server without ranges has sent all there is
            if progress is not None:
                size = yield Call(scratch.size)
                progress(size, size)
            return answer
        yield Call(scratch.expect, (promise,))
        try:
            yield from _brought(source, scratch, promise, progress)
        except (IntegrityError, APIStatusError) as error:
            changed = isinstance(error, IntegrityError) or error.status == _OUT_OF_RANGE
            if not changed or beginning + 1 == _BEGINNINGS:
                raise
            yield Call(scratch.clear)
        else:
            yield Call(scratch.verify, (promise,))
            return answer
    raise AssertionError  # pragma: no cover - the last beginning returns or raises


def _probed(source: Request, scratch: _Scratch) -> Flow[tuple[Response, _Promise | None]]:
    """Ask for the first two bytes: what there is, or, from a server that knows no ranges, all of it."""
    whole = replace(source, into=Into(scratch.probe))
    probe = replace(whole, headers={**source.headers, "range": "bytes=0-1"}, expect=(_OUT_OF_RANGE,))
    answer: Response = yield probe
    if answer.status == _OUT_OF_RANGE:
        answer = yield whole  # it is empty
    if answer.status == _PARTIAL:
        return answer, _Promise.of(answer)
    yield Call(scratch.take_probe)
    stated = answer.headers.get("content-length")
    yield Call(scratch.verify, (_Promise(int(stated) if stated else None, None, _digest(answer)),))
    return answer, None


def _brought(source: Request, scratch: _Scratch, promise: _Promise, progress: Progress | None) -> Flow[None]:
    """Bring the rest; a break counts only when nothing came since the last one."""
    retries, failures = (yield Retries()), 0
    told = None if progress is None else lambda so_far: progress(so_far, promise.size or 0)
    while True:
        at = yield Call(scratch.size)
        if at == promise.size:
            return
        if failures > retries:
            raise IntegrityError(
                f"download: expected {promise.size or 0:,} bytes, found an end at {at:,}; download it again"
            )
        headers = {**source.headers, "range": f"bytes={at}-"} | ({"if-range": promise.strong} if promise.strong else {})
        into = Into(scratch.content, at, promise.tag, promise.size, told)
        try:
            yield replace(source, headers=headers, into=into, retry=False)
        except APIError as error:
            failures = 0 if (yield Call(scratch.is_further, (promise, at))) else failures + 1
            if not is_transient(error) or failures > retries:
                raise
            yield Sleep(pause(error, max(failures - 1, 0), 0.0))
        else:
            failures = 0 if (yield Call(scratch.is_further, (promise, at))) else failures + 1


@dataclass(frozen=True)
class _Promise:
    """What the server says of an object before it sends it."""

    size: int | None
    tag: str | None = None
    digest: str | None = None  # SHA-256, in hexadecimal

    @property
    def strong(self) -> str | None:
        """Return the tag if it is a strong one: only then may two answers be put together."""
        return None if self.tag is None or self.tag.startswith("W/") else self.tag

    @staticmethod
    def of(answer: Response) -> _Promise:
        """Read the answer to a probe."""
        stated = answer.headers.get("content-range", "")
        size = _RANGE.fullmatch(stated.strip())
        if size is None:
            raise IntegrityError(f"download: expected Content-Range with a size, found {stated!r}; download it again")
        return _Promise(int(size[1]), answer.headers.get("etag"), _digest(answer))


class _Scratch:
    """The hidden folder of a download: what came so far, whose it is, and a lock, for it is one download's.

    It stands in the target if that is a folder already, else beside it: on the same disk, where its owner may write.
    """

    def __init__(self, target: Path, label: str) -> None:
        self._target = target
        place, flat = target.resolve(), _cut(_ODD.sub("_", label))
        inside = place.is_dir()
        self.folder = place / f".{flat}.part" if inside else place.parent / f".{_cut(place.name)}.{flat}.part"
        self.content, self.probe = self.folder / "content", self.folder / "probe"
        self._promise = self.folder / "promise.json"
        self._lock: BaseFileLock | None = None

    def open(self) -> None:
        """Make the folder, or take over one that was left. Raises ConfigError when another download has it."""
        from filelock import FileLock, Timeout  # noqa: PLC0415 - most processes never download

        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / "lock", blocking=False, thread_local=False)  # taken in a thread, left outside
        try:
            lock.acquire()
        except Timeout:
            raise ConfigError(
                f"to={str(self._target)!r}: expected to be alone, found another download of the same; wait for it"
            ) from None
        self._lock = lock
        shutil.rmtree(self.folder / "unpacked", ignore_errors=True)

    def expect(self, promise: _Promise) -> None:
        """Keep what came so far if it belongs to the promise, and note whose it is from now on."""
        if not (promise.strong and self._promise.exists() and _same_promise(self._promise, promise)):
            self.clear()
        free, missing = shutil.disk_usage(self.folder).free, (promise.size or 0) - self.size()
        if missing > free:
            raise OSError(errno.ENOSPC, f"{missing:,} bytes more are to come, and {free:,} are free")
        if promise.strong:
            self._promise.write_text(json.dumps(asdict(promise)))

    def size(self) -> int:
        """Return how many bytes came so far."""
        return self.content.stat().st_size if self.content.exists() else 0

    def is_further(self, promise: _Promise, at: int) -> bool:
        """Tell whether more than `at` bytes are there to go on with; a part that no rest can be told to fit is cleared.

        What is whole is always left.
        """
        if promise.strong or self.size() == promise.size:
            return self.size() > at
        self.content.unlink(missing_ok=True)
        return False

    def clear(self) -> None:
        """Begin from nothing."""
        self.content.unlink(missing_ok=True)
        self._promise.unlink(missing_ok=True)

    def take_probe(self) -> None:
        """Take what a probe brought for the whole."""
        self.probe.replace(self.content)

    def verify(self, promise: _Promise) -> None:
        """Raise IntegrityError unless what came is what was promised."""
        if promise.size is not None and self.size() != promise.size:
            raise IntegrityError(f"download: expected {promise.size:,} bytes, found {self.size():,}; download it again")
        if promise.digest is None:
            return
        with self.content.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != promise.digest:
            raise IntegrityError(f"download: expected SHA-256 {promise.digest}, found {found}; download it again")

    def close(self, *, keep: bool) -> None:
        """Remove everything, unless a later call can go on with it."""
        if self._lock is None:
            return  # what stands there is another download's
        if not (keep and self._promise.exists() and self.size()):
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()


def _cut(text: str) -> str:
    return text.encode(errors="ignore")[:_LONGEST_LABEL].decode(errors="ignore")


def _same_promise(kept: Path, promise: _Promise) -> bool:
    try:
        return bool(json.loads(kept.read_text()) == asdict(promise))
    except ValueError:  # the machine went down while it was written
        return False


def _digest(answer: Response) -> str | None:
    """Return the SHA-256 of the whole object where a server states it (RFC 9530, RFC 3230, or as S3 does)."""
    stated = (
        [_member(answer.headers, name, "sha-256") for name in ("repr-digest", "digest")]
        + [answer.headers.get("x-amz-checksum-sha256")]
    )  # fmt: skip
    for text in stated:
        try:
            raw = base64.b64decode(text or "", validate=True)
        except ValueError:
            continue
        if len(raw) == hashlib.sha256().digest_size:
            return raw.hex()
    return None


def _member(headers: Mapping[str, str], name: str, algorithm: str) -> str | None:
    """Return one algorithm's value of a digest header."""
    for member in headers.get(name, "").split(","):
        key, _, value = member.strip().partition("=")
        if key.lower() == algorithm:
            return value.strip(":")
    return None


def _file_name(answer: Response, otherwise: str) -> str:
    """Return the name that a server chose, as one that stays in its folder."""
    from email.message import Message  # noqa: PLC0415 - it knows all the ways to say a file's name

    stated = Message()
    stated["content-disposition"] = answer.headers.get("content-disposition", "")
    try:
        name = stated.get_filename() or otherwise
    except (TypeError, ValueError):  # what nobody can read
        name = otherwise
    flat = _ODD.sub("_", name).encode()[-_LONGEST_NAME:].decode(errors="ignore")
    return flat.lstrip(".") or "download"


def _free(place: Path) -> Path:
    """Return a place where nothing stands: a name that a server chose takes the place of no file."""
    others = (place.with_name(f"{place.stem} ({number}){place.suffix}") for number in count(1))
    return next(one for one in chain([place], others) if not one.exists())


def _plain(error: OSError, folder: Path) -> OSError:
    """Return an error of the disk; of a full one, with what to do."""
    if error.errno != errno.ENOSPC:
        return error
    return OSError(
        errno.ENOSPC, f"the disk is full ({error.strerror}); free some space and download again", str(folder)
    )
