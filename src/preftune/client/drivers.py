"""The two drivers: whoever performs a flow's steps. The only place that imports httpx, and the only sync/async pair.

Rules of this file: the API's key and headers go to the API alone; an absolute URL leaves through a second client that
has neither. A body is opened anew at each attempt. Every failure becomes one of `preftune.errors` before it leaves.
"""

from __future__ import annotations

import asyncio
import math
import random
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, assert_never

import httpx
import tenacity

from preftune.api.steps import Call, Emit, Feed, Flow, Now, Request, Response, Sleep, Step, Token
from preftune.client import exchange, redact
from preftune.client.connection import Connection
from preftune.client.retry import policy
from preftune.errors import APIConnectionError, APIError, APITimeoutError

T = TypeVar("T")
redact.install()
_CHUNK = 1 << 20  # bytes of a body in memory at once
_SHORTEST_ATTEMPT = 0.001  # seconds
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)  # the request cannot have taken effect


class Blocking:
    """Performs steps on the calling thread."""

    def __init__(
        self,
        connection: Connection,
        *,
        http_client: httpx.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._connection, self._sleep, self._now, self._chance = connection, sleep, now, chance
        self._own = {"api": http_client} if http_client else {}  # the caller's: closed with ours, never replaced
        self._clients: dict[str, httpx.Client] = {**self._own}

    def sharing(self, connection: Connection) -> Blocking:
        """Return a driver with other settings and the same connections."""
        other = object.__new__(Blocking)
        other.__dict__.update(self.__dict__, _connection=connection)
        return other

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        self._clients.update(self._own)

    def run(self, flow: Flow[T]) -> T:
        """Return what a flow ends with."""
        return _result(self.stream(flow))

    def stream(self, flow: Flow[T] | Feed[Any]) -> Generator[Any, None, T]:
        """Yield what a flow emits, and return what it ends with."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Emit):
                    yield step.item
                    step = flow.send(None)
                    continue
                try:
                    answer = self._do(step)
                except Exception as error:  # noqa: BLE001 - the flow decides what to make of it
                    step = flow.throw(_stripped(error))
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            flow.close()

    def _do(self, step: Step) -> Any:
        match step:
            case Request():
                return self._request(step)
            case Sleep(seconds):
                return self._sleep(seconds)
            case Call(function, arguments):
                return function(*arguments)
            case Now():
                return self._now()
            case Token():
                return secrets.token_hex(16)
            case _:
                assert_never(step)

    def _request(self, request: Request) -> Response:
        time_left = _countdown(self)
        retrying = tenacity.Retrying(sleep=self._sleep, **_policy(self, request, time_left))
        return retrying(self._attempt, request, time_left)

    def _attempt(self, request: Request, time_left: Callable[[], float]) -> Response:
        client, timeout = self._client(request), _timeout(self._connection, time_left())
        with _open(request) as file, _told(request, self._connection, timeout):
            content = _chunks(file) if file else request.body
            sent = client.build_request(**exchange.arguments(request, self._connection, content), timeout=timeout)
            raw = client.send(sent, stream=True, auth=None, follow_redirects=False)
            try:
                if request.into is not None and raw.is_success:
                    with request.into.open("wb") as target:
                        for chunk in raw.iter_raw(_CHUNK):
                            target.write(chunk)
                else:
                    raw.read()
            finally:
                raw.close()
        return exchange.answer(request, _came(request, raw), self._connection)

    def _client(self, request: Request) -> httpx.Client:
        name, secure = exchange.destination(request, self._connection)
        if name not in self._clients:
            self._clients.setdefault(name, httpx.Client(verify=secure))
        return self._clients[name]


class Awaiting:
    """Performs steps on the running event loop, local work in threads; each loop has connections of its own."""

    def __init__(
        self,
        connection: Connection,
        *,
        http_client: httpx.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._connection, self._sleep, self._now, self._chance = connection, sleep, now, chance
        self._http_client = http_client
        self._pools: dict[asyncio.AbstractEventLoop, dict[str, httpx.AsyncClient]] = {}

    def sharing(self, connection: Connection) -> Awaiting:
        """Return a driver with other settings and the same connections."""
        other = object.__new__(Awaiting)
        other.__dict__.update(self.__dict__, _connection=connection)
        return other

    async def close(self) -> None:
        """Close the connections of the running loop."""
        for client in self._pools.pop(asyncio.get_running_loop(), {}).values():
            await client.aclose()

    async def run(self, flow: Flow[T]) -> T:
        """Return what a flow ends with."""
        try:
            step = next(flow)
            while True:
                step = _advanced(flow, *(await self._outcome(step)))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            flow.close()

    async def stream(self, feed: Feed[T]) -> AsyncGenerator[T, None]:
        """Yield what a feed emits."""
        try:
            step = next(feed)
            while True:
                if isinstance(step, Emit):
                    yield step.item
                    step = feed.send(None)
                else:
                    step = _advanced(feed, *(await self._outcome(step)))
        except StopIteration:
            return
        finally:
            feed.close()

    async def _outcome(self, step: Step | Emit[Any]) -> tuple[Any, Exception | None]:
        """Return a step's answer, or its error."""
        try:
            return await self._do(step), None
        except Exception as error:  # noqa: BLE001 - the flow decides what to make of it
            return None, _stripped(error)

    async def _do(self, step: Step | Emit[Any]) -> Any:
        match step:
            case Request():
                return await self._request(step)
            case Sleep(seconds):
                return await self._sleep(seconds)
            case Call(function, arguments):
                return await asyncio.to_thread(function, *arguments)
            case Now():
                return self._now()
            case Token():
                return secrets.token_hex(16)
            case Emit():
                return None  # of no use to a plain call
            case _:
                assert_never(step)

    async def _request(self, request: Request) -> Response:
        time_left = _countdown(self)
        retrying = tenacity.AsyncRetrying(sleep=self._sleep, **_policy(self, request, time_left))
        return await retrying(self._attempt, request, time_left)

    async def _attempt(self, request: Request, time_left: Callable[[], float]) -> Response:
        client, timeout = self._client(request), _timeout(self._connection, time_left())
        with _open(request) as file, _told(request, self._connection, timeout):
            content = _async_chunks(file) if file else request.body
            sent = client.build_request(**exchange.arguments(request, self._connection, content), timeout=timeout)
            raw = await client.send(sent, stream=True, auth=None, follow_redirects=False)
            try:
                if request.into is not None and raw.is_success:
                    with request.into.open("wb") as target:
                        async for chunk in raw.aiter_raw(_CHUNK):
                            await asyncio.to_thread(target.write, chunk)
                else:
                    await raw.aread()
            finally:
                await raw.aclose()
        return exchange.answer(request, _came(request, raw), self._connection)

    def _client(self, request: Request) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            for ended in [old for old in self._pools if old.is_closed()]:
                del self._pools[ended]
            self._pools[loop] = {"api": self._http_client} if self._http_client else {}
        pool, (name, secure) = self._pools[loop], exchange.destination(request, self._connection)
        if name not in pool:
            pool[name] = httpx.AsyncClient(verify=secure)
        return pool[name]


def _advanced(flow: Generator[Any, Any, Any], answer: Any, error: Exception | None) -> Any:
    """Return a flow's next step; no coroutine of its own, since none lets the StopIteration of a flow's end pass."""
    return flow.send(answer) if error is None else flow.throw(error)


def _result(running: Generator[Any, None, T]) -> T:
    """Return what a generator ends with; what it emits on the way is of no use to a plain call."""
    while True:
        try:
            next(running)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def _countdown(driver: Blocking | Awaiting) -> Callable[[], float]:
    """Return a function that tells the seconds left until the deadline of the call that begins now."""
    deadline, now, started = driver._connection.deadline, driver._now, driver._now()  # noqa: SLF001 - of this file
    return lambda: math.inf if deadline is None else deadline - (now() - started)


def _timeout(connection: Connection, time_left: float) -> float:
    """Return the seconds of an attempt, which may not outlast the call."""
    return min(connection.timeout, max(time_left, _SHORTEST_ATTEMPT))


def _policy(driver: Blocking | Awaiting, request: Request, time_left: Callable[[], float]) -> dict[str, Any]:
    retries, chance = driver._connection.max_retries, driver._chance  # noqa: SLF001
    return policy(request, max_retries=retries, chance=chance, time_left=time_left)


@contextmanager
def _open(request: Request) -> Iterator[BinaryIO | None]:
    """Open a request's body anew, if it is a file."""
    if not isinstance(request.body, Path):
        yield None
        return
    with request.body.open("rb") as file:
        yield file


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


async def _async_chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(file.read, _CHUNK):
        yield chunk


@contextmanager
def _told(request: Request, connection: Connection, timeout: float) -> Iterator[None]:
    """Turn httpx's errors into ours, saying whether the request may have taken effect."""
    place = {"method": request.method, "path": request.path.partition("?")[0]}
    where = f"{place['method']} {place['path']}"
    try:
        yield
    except httpx.TimeoutException as error:
        sentence = f"{where}: no answer within {timeout:g} s; try again, or raise timeout"
        raise APITimeoutError(sentence, **place, ambiguous=not isinstance(error, _NOT_SENT)) from _bare(error)
    except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as error:
        raise APIError(
            f"{where}: the request cannot be sent, {error}; look at base_url and the headers", **place
        ) from None
    except httpx.RequestError as error:  # the network, or a body that does not decode
        reason, host = str(error) or type(error).__name__, exchange.host(request, connection)
        sentence = f"{where}: no answer from {host}, {reason}; is the server running, and the network up?"
        raise APIConnectionError(sentence, **place, ambiguous=not isinstance(error, _NOT_SENT)) from _bare(error)


def _bare(error: Exception) -> Exception:
    """Return an error without its frames: a hundred lines of other libraries that say nothing to a user."""
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)


def _stripped(error: Exception) -> Exception:
    """Return one of our errors without the frames of the retrying; others keep theirs."""
    return error.with_traceback(None) if isinstance(error, APIError) else error


def _came(request: Request, raw: httpx.Response) -> Response:
    """Return httpx's answer as ours; a body that went into a file is not in it."""
    content = b"" if request.into is not None and raw.is_success else raw.content
    return Response(raw.status_code, {name.lower(): value for name, value in raw.headers.items()}, content, request)
