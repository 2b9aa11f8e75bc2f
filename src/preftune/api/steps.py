"""What a call wants done, as values: a flow yields these and is sent the answers.

A flow is a generator; whoever drives it performs each step and sends the answer, or throws the step's error in at its
yield, so that a flow can clean up, adopt a job, or go on. Nothing here knows of a network, a clock or a loop.

    step                answer
    Request             Response
    Sleep(seconds)      None
    Now()               seconds on a clock that only goes forward
    Token()             fresh random text
    Call(function, …)   what the function returns; local blocking work, a thread under the async driver
    Emit(item)          None; the item goes to whoever reads the feed
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """One HTTP request. A `path` that starts with http(s):// leaves the API: it is sent without key and headers."""

    method: str
    path: str
    params: Mapping[str, Any] | None = None
    json: Any = None
    form: Mapping[str, str] | None = None  # text parts of a multipart form
    body: Path | bytes | None = None  # reopened at each attempt, so that a retry never sends an empty rest
    into: Path | None = None  # the answer's body is streamed to this file
    headers: Mapping[str, str] = field(default_factory=dict)
    expect: tuple[int, ...] = ()  # statuses taken as success beside the 2xx
    retry: bool = True  # False leaves every decision to the flow
    retry_conflict: bool = True  # whether 409 is worth another try


@dataclass(frozen=True)
class Response:
    """What came back: `headers` have lower-case names; `content` is empty when the body went into a file."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    request: Request


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
class Call:
    """Run local blocking work."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Emit(Generic[T]):
    """Hand an item to whoever reads the feed."""

    item: T


Step: TypeAlias = Request | Sleep | Now | Token | Call
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
