"""What a call wants done, as values: a flow yields these and is sent the answers.

A flow is a generator; whoever drives it performs each step and sends the answer, or throws the step's error in at its
yield (an interruption too), so that a flow can clean up, adopt a job, or go on. Nothing here knows of a network, a
clock, a loop or a folder.

    step                 answer
    Request              Response
    All(requests)        list of Response, in the order of the requests
    Sleep(seconds)       None
    Now()                seconds on a clock that only goes forward
    Token()              fresh random text
    Retries()            how often the user has a failed request tried again
    Call(function, …)    what the function returns; local blocking work, a thread under the async driver
    Record(entry)        None; the entry is in the ledger
    Claim(job, entry)    whether no other call has this job; if so it is this call's from now on, and in the ledger
    Hold(key)            a function that lets go, or None while another call of this machine holds the key
    Recorded()           the ledger's entries for this API, oldest first
    Emit(item)           None; the item goes to whoever reads the feed
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")
Told: TypeAlias = Callable[[int], None]


@dataclass(frozen=True)
class Part:
    """Bytes of a file to send, between `head` and `tail`; read anew at each attempt, so a retry never sends a rest."""

    path: Path
    start: int = 0
    size: int = 0  # bytes of the file
    head: bytes = b""
    tail: bytes = b""
    told: Told | None = None  # the bytes of the file that this attempt has read so far

    @property
    def length(self) -> int:
        """Return how many bytes are sent."""
        return len(self.head) + self.size + len(self.tail)


@dataclass(frozen=True)
class Into:
    """The file that an answer's body is streamed to: at byte `at` if the server goes on there, else from the start."""

    path: Path
    at: int = 0
    tag: str | None = None  # the entity tag that the bytes belong to; an answer with another is refused unread
    most: int | None = None  # bytes; an answer that goes beyond is refused there
    told: Told | None = None  # the bytes in the file so far


@dataclass(frozen=True)
class Request:
    """One HTTP request. A `path` that starts with http(s):// leaves the API: it is sent without key and headers."""

    method: str
    path: str
    params: Mapping[str, Any] | None = None
    json: Any = None
    form: Mapping[str, str] | None = None  # text parts of a multipart form
    body: Part | bytes | None = None
    into: Into | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    expect: tuple[int, ...] = ()  # statuses taken as success beside the 2xx
    retry: bool = True  # False leaves every decision to the flow
    retry_conflict: bool = True  # whether 409 is worth another try
    tidies: bool = False  # made although the deadline of the call has passed: it cleans up behind the call

    def __repr__(self) -> str:
        """Show where it goes, and nothing that may be secret."""
        return f"Request({self.method} {self.path.partition('?')[0]})"


@dataclass(frozen=True)
class Response:
    """What came back: `headers` have lower-case names; `content` is empty when the body went into a file."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    request: Request

    def __repr__(self) -> str:
        """Show what came of which request; headers and content may be secret."""
        return f"Response({self.status}, {len(self.content)} bytes, {self.request!r})"


@dataclass(frozen=True)
class All:
    """Make several requests, `limit` at once; the first that fails for good ends the others."""

    requests: tuple[Request, ...]
    limit: int = 4


@dataclass(frozen=True)
class Sleep:
    """Wait."""

    seconds: float


@dataclass(frozen=True)
class Now:
    """Read a clock that only goes forward, in seconds."""


@dataclass(frozen=True)
class Token:
    """Make a fresh random text, for an Idempotency-Key."""


@dataclass(frozen=True)
class Retries:
    """Ask how often a failed request may be tried again."""


@dataclass(frozen=True)
class Call:
    """Run local blocking work."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Record:
    """Write an entry into the ledger of jobs."""

    entry: Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """Take a job for this call, once; the entry is written if it succeeds."""

    job: str
    entry: Mapping[str, Any]


@dataclass(frozen=True)
class Hold:
    """Hold an idempotency key, so that of the calls with one key one at a time is at it."""

    key: str


@dataclass(frozen=True)
class Recorded:
    """Read the ledger's entries for this API."""


@dataclass(frozen=True)
class Emit(Generic[T]):
    """Hand an item to whoever reads the feed."""

    item: T


Step: TypeAlias = Request | All | Sleep | Now | Token | Retries | Call | Record | Claim | Hold | Recorded
Flow: TypeAlias = Generator[Step, Any, T]  # ends with one T
Feed: TypeAlias = Generator[Step | Emit[T], Any, None]  # emits many of T


def each(feed: Feed[T], take: Callable[[T], None]) -> Flow[None]:
    """Do what a feed does, handing its items to a function instead of a reader."""
    try:
        step = next(feed)
        while True:
            if isinstance(step, Emit):
                take(step.item)
                step = feed.send(None)
                continue
            try:
                answer = yield step
            except Exception as error:  # noqa: BLE001 - the feed decides what to make of it
                step = feed.throw(error)
            else:
                step = feed.send(answer)
    except StopIteration:
        return
    finally:
        feed.close()
