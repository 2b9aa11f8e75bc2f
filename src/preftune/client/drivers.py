"""The two drivers: whoever performs a flow's steps. The only place that imports httpx, and the only sync/async pair.

Rules of this file: the API's key and headers go to the API alone; an absolute URL leaves through a second client that
has neither. A body is opened anew at each attempt. Every failure becomes one of `preftune.errors` before it leaves, and
is thrown into the flow, an interruption as well.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import secrets
import ssl
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import cache
from typing import Any, BinaryIO, TypeVar, assert_never

import httpx
import tenacity

from preftune.api.steps import (
    All,
    Call,
    Claim,
    Emit,
    Feed,
    Flow,
    Hold,
    Into,
    Now,
    Part,
    Record,
    Recorded,
    Request,
    Response,
    Retries,
    Sleep,
    Step,
    Token,
)
from preftune.client import exchange, redact
from preftune.client.budget import Budget
from preftune.client.connection import Connection
from preftune.client.ledger import Ledger
from preftune.client.retry import policy
from preftune.errors import APIConnectionError, APIError, APITimeoutError, ConfigError, IntegrityError

T = TypeVar("T")
redact.install()
_log = logging.getLogger("preftune")
_CHUNK = 1 << 20  # bytes of a body in memory at once
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=100)  # a hundred streams need no new handshakes
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)  # the request cannot have taken effect


class Blocking:
    """Performs steps on the calling thread; any number of threads may share it."""

    def __init__(
        self,
        connection: Connection,
        *,
        http_client: httpx.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        _expect(http_client, httpx.Client)
        self._connection, self._sleep, self._now, self._chance = connection, sleep, now, chance
        self._ledger = Ledger(connection.state_dir, connection.base_url)
        self._own = {"api": http_client} if http_client else {}  # the caller's: closed with ours, never replaced
        self._clients: dict[str, httpx.Client] = {**self._own}
        self._lock = threading.Lock()

    def sharing(self, connection: Connection) -> Blocking:
        """Return a driver with other settings and the same connections."""
        other = object.__new__(Blocking)
        other.__dict__.update(self.__dict__, _connection=connection)
        return other

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        self._clients.update(self._own)

    def run(self, flow: Flow[T]) -> T:
        """Return what a flow ends with, within the deadline of a call."""
        return _result(self._performed(flow, Budget(self._connection.deadline, self._now)))

    def stream(self, feed: Feed[T]) -> Generator[T, None, None]:
        """Yield what a feed emits; each of its requests has the deadline of a call."""
        return self._performed(feed, None)

    def _performed(self, flow: Flow[T] | Feed[Any], budget: Budget | None) -> Generator[Any, None, T]:
        try:
            step = next(flow)
            while True:
                if isinstance(step, Emit):
                    yield step.item
                    step = flow.send(None)
                    continue
                try:
                    answer = self._do(step, budget or _budget_of_one(step, self))
                except BaseException as error:  # noqa: BLE001 - the flow decides what to make of it
                    step = flow.throw(_stripped(error))
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            flow.close()

    def _do(self, step: Step, budget: Budget) -> Any:
        match step:
            case Request():
                return self._request(step, budget)
            case All():
                return self._all(step, budget.part())
            case Sleep(seconds):
                return self._sleep(budget.allow(seconds))
            case Call(function, arguments):
                return function(*arguments)
            case Now():
                return self._now()
            case Token() | Retries() | Record() | Claim() | Hold() | Recorded():
                return _noted(step, self._connection, self._ledger)
            case _:
                assert_never(step)

    def _all(self, step: All, budget: Budget) -> list[Response]:
        with ThreadPoolExecutor(step.limit) as pool:
            running = [pool.submit(self._request, request, budget) for request in step.requests]
            try:
                for done in as_completed(running):
                    done.result()
            except BaseException:
                budget.give_up()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [done.result() for done in running]

    def _request(self, request: Request, budget: Budget) -> Response:
        retrying = tenacity.Retrying(sleep=self._sleep, **_policy(self, request, budget))
        return retrying(self._attempt, request, budget)

    def _attempt(self, request: Request, budget: Budget) -> Response:
        client, attempt = self._client(request), budget.attempt(request, self._connection.timeout)
        with _open(request) as file, _told(request, self._connection, attempt.seconds):
            content = map(attempt.sent, _read(file, request.body)) if file else request.body
            raw = client.send(_built(client, request, self._connection, content, attempt.seconds), **_PLAIN)
            try:
                if _is_for_file(request, raw):
                    with _target(request, raw) as target:
                        for chunk in raw.iter_raw():
                            target.write(attempt.received(chunk))
                            _tell(request.into, target.tell())
                    body = b""
                else:
                    body = b"".join(map(attempt.received, raw.iter_bytes()))
            finally:
                raw.close()
        return exchange.answer(request, _came(request, raw, body, attempt.elapsed()), self._connection)

    def _client(self, request: Request) -> httpx.Client:
        name, secure = exchange.destination(request, self._connection)
        with self._lock:
            if name not in self._clients:
                self._clients[name] = _made(httpx.Client, self._connection, secure=secure)
            return _open_still(self._clients[name])


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
        _expect(http_client, httpx.AsyncClient)
        self._connection, self._sleep, self._now, self._chance = connection, sleep, now, chance
        self._ledger = Ledger(connection.state_dir, connection.base_url)
        self._http_client = http_client
        self._pools: dict[asyncio.AbstractEventLoop, dict[str, httpx.AsyncClient]] = {}

    def sharing(self, connection: Connection) -> Awaiting:
        """Return a driver with other settings and the same connections."""
        other = object.__new__(Awaiting)
        other.__dict__.update(self.__dict__, _connection=connection)
        return other

    async def close(self) -> None:
        """Close the connections of the running loop; a later call opens new ones."""
        for client in self._pools.pop(asyncio.get_running_loop(), {}).values():
            await client.aclose()

    async def run(self, flow: Flow[T]) -> T:
        """Return what a flow ends with, within the deadline of a call."""
        budget = Budget(self._connection.deadline, self._now)
        try:
            step = next(flow)
            while True:
                step = _advanced(flow, *(await self._outcome(step, budget)))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            flow.close()

    async def stream(self, feed: Feed[T]) -> AsyncGenerator[T, None]:
        """Yield what a feed emits; each of its requests has the deadline of a call."""
        try:
            step = next(feed)
            while True:
                if isinstance(step, Emit):
                    yield step.item
                    step = feed.send(None)
                else:
                    step = _advanced(feed, *(await self._outcome(step, _budget_of_one(step, self))))
        except StopIteration:
            return
        finally:
            feed.close()

    async def _outcome(self, step: Step | Emit[Any], budget: Budget) -> tuple[Any, BaseException | None]:
        """Return a step's answer, or its error."""
        try:
            return await self._do(step, budget), None
        except BaseException as error:  # noqa: BLE001 - the flow decides what to make of it
            return None, _stripped(error)

    async def _do(self, step: Step | Emit[Any], budget: Budget) -> Any:
        match step:
            case Request():
                return await self._request(step, budget)
            case All():
                return await self._all(step, budget.part())
            case Sleep(seconds):
                return await self._sleep(budget.allow(seconds))
            case Call(function, arguments):
                return await _in_thread(function, *arguments)
            case Now():
                return self._now()
            case Token() | Retries() | Record() | Claim() | Hold() | Recorded():
                return await _in_thread(_noted, step, self._connection, self._ledger)
            case Emit():
                return None  # of no use to a plain call
            case _:
                assert_never(step)

    async def _all(self, step: All, budget: Budget) -> list[Response]:
        free = asyncio.Semaphore(step.limit)

        async def one(request: Request) -> Response:
            async with free:
                return await self._request(request, budget)

        running = [asyncio.ensure_future(one(request)) for request in step.requests]
        try:
            return await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _request(self, request: Request, budget: Budget) -> Response:
        retrying = tenacity.AsyncRetrying(sleep=self._sleep, **_policy(self, request, budget))
        return await retrying(self._attempt, request, budget)

    async def _attempt(self, request: Request, budget: Budget) -> Response:
        client, attempt = self._client(request), budget.attempt(request, self._connection.timeout)
        with _open(request) as file, _told(request, self._connection, attempt.seconds):
            content = _async_read(file, request.body, attempt.sent) if file else request.body
            sent = _built(client, request, self._connection, content, attempt.seconds)
            raw = await _in_time(client.send(sent, **_PLAIN), attempt.longest)
            try:
                if _is_for_file(request, raw):
                    with _target(request, raw) as target:
                        async for chunk in _gathered(raw.aiter_raw(), attempt.received):
                            await _in_thread(target.write, chunk)
                            _tell(request.into, target.tell())
                    body = b""
                else:
                    body = b"".join([attempt.received(chunk) async for chunk in raw.aiter_bytes()])
            finally:
                await raw.aclose()
        return exchange.answer(request, _came(request, raw, body, attempt.elapsed()), self._connection)

    def _client(self, request: Request) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            if self._http_client and self._pools:
                raise ConfigError(
                    "http_client: expected one event loop, found a second; an httpx.AsyncClient is of the loop that it "
                    "was first used in, so make a client for each, or leave it out"
                )
            for ended in [old for old in self._pools if old.is_closed()]:
                del self._pools[ended]
            self._pools[loop] = {"api": self._http_client} if self._http_client else {}
        pool, (name, secure) = self._pools[loop], exchange.destination(request, self._connection)
        if name not in pool:
            pool[name] = _made(httpx.AsyncClient, self._connection, secure=secure)
        return _open_still(pool[name])


C = TypeVar("C", httpx.Client, httpx.AsyncClient)
_PLAIN: Any = {"stream": True, "auth": None, "follow_redirects": False}  # what both `send` are told


@cache
def _tls() -> ssl.SSLContext:
    """Return the one context that all clients share: reading the CA bundle takes longer than a request."""
    return httpx.create_ssl_context()


def _made(kind: type[C], connection: Connection, *, secure: bool) -> C:
    """Return an httpx client of our own."""
    try:
        proxy = connection.proxy and httpx.Proxy(connection.proxy.reveal())
        return kind(verify=_tls() if secure else False, limits=_LIMITS, proxy=proxy or None)
    except (ValueError, httpx.InvalidURL, ImportError):
        raise ConfigError(
            "proxy: expected an address, found something else; for example http://user:password@host:3128, with / and "
            "@ of a password percent-encoded; look at HTTP_PROXY, HTTPS_PROXY and ALL_PROXY too"
        ) from None  # httpx quotes what it could not read


def _expect(http_client: object, kind: type) -> None:
    if http_client is not None and not isinstance(http_client, kind):
        raise ConfigError(f"http_client: expected an httpx.{kind.__name__}, found {type(http_client).__name__}")


def _open_still(client: C) -> C:
    if client.is_closed:
        raise ConfigError("http_client: expected an open client, found one that is closed; make another client with it")
    return client


def _advanced(flow: Generator[Any, Any, Any], answer: Any, error: BaseException | None) -> Any:
    """Return a flow's next step; no coroutine of its own, since none lets the StopIteration of a flow's end pass."""
    return flow.send(answer) if error is None else flow.throw(error)


def _result(running: Generator[Any, None, T]) -> T:
    """Return what a generator ends with; what it emits on the way is of no use to a plain call."""
    while True:
        try:
            next(running)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def _noted(step: Token | Retries | Record | Claim | Hold | Recorded, connection: Connection, ledger: Ledger) -> Any:
    """Do what needs neither the network nor a clock."""
    match step:
        case Token():
            return secrets.token_hex(16)
        case Retries():
            return connection.max_retries
        case Record(entry):
            return ledger.record(entry)
        case Claim(job, entry):
            return ledger.claim(job, entry)
        case Hold(key):
            return ledger.hold(key)
        case _:  # Recorded
            return ledger.entries()


async def _in_time(sending: Awaitable[T], seconds: float | None) -> T:
    """Return an answer whose headers came in time, however slowly; the blocking driver has no way to break them off."""
    try:
        async with asyncio.timeout(seconds):
            return await sending
    except TimeoutError:
        raise httpx.ReadTimeout("") from None


async def _in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Return what a function returns, off the loop; when cancelled, once it has ended, for no thread can be stopped."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        work.exception()  # nobody else will ask for it
        raise


def _budget_of_one(step: Step, driver: Blocking | Awaiting) -> Budget:
    """Return the budget of one step of a stream, which has no end of its own: its pauses are as long as they are."""
    deadline = driver._connection.deadline if isinstance(step, Request | All) else None  # noqa: SLF001 - of this file
    return Budget(deadline, driver._now)  # noqa: SLF001


def _policy(driver: Blocking | Awaiting, request: Request, budget: Budget) -> dict[str, Any]:
    retries, chance = driver._connection.max_retries, driver._chance  # noqa: SLF001 - of this file
    return policy(request, max_retries=retries, chance=chance, time_left=budget.left)


def _built(
    client: httpx.Client | httpx.AsyncClient, request: Request, connection: Connection, content: Any, timeout: float
) -> httpx.Request:
    patience = timeout if math.isfinite(timeout) else None  # the sockets know no infinity
    return client.build_request(**exchange.arguments(request, connection, content), timeout=patience)


@contextmanager
def _open(request: Request) -> Iterator[BinaryIO | None]:
    """Open a request's body anew, if it is of a file."""
    if not isinstance(request.body, Part):
        yield None
        return
    with request.body.path.open("rb") as file:
        yield file


def _read(file: BinaryIO, body: Part | bytes | None) -> Iterator[bytes]:
    """Yield the bytes of a part, chunk by chunk."""
    assert isinstance(body, Part)  # noqa: S101 - `_open` opens a file for nothing else
    if body.head:
        yield body.head
    file.seek(body.start)
    left = body.size
    while chunk := file.read(min(_CHUNK, left)):
        left -= len(chunk)
        yield chunk
    if body.tail:
        yield body.tail


async def _async_read(
    file: BinaryIO, body: Part | bytes | None, sent: Callable[[bytes], bytes]
) -> AsyncIterator[bytes]:
    chunks = _read(file, body)
    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        yield sent(chunk)


async def _gathered(chunks: AsyncIterator[bytes], received: Callable[[bytes], bytes]) -> AsyncIterator[bytes]:
    """Yield what comes in pieces that are worth a thread's while; at a break, what came before it."""
    held: list[bytes] = []
    size = 0
    try:
        async for chunk in chunks:
            held.append(received(chunk))
            size += len(chunk)
            if size >= _CHUNK:
                yield b"".join(held)
                held, size = [], 0
    except Exception:
        yield b"".join(held)  # the next attempt goes on behind it
        raise
    yield b"".join(held)


def _is_for_file(request: Request, raw: httpx.Response) -> bool:
    return request.into is not None and raw.is_success


@contextmanager
def _target(request: Request, raw: httpx.Response) -> Iterator[BinaryIO]:
    """Open the file that an answer goes into, where it goes on, and cut off what stands behind."""
    assert request.into is not None  # noqa: S101 - `_is_for_file`
    at = exchange.place(request.into, raw.status_code, raw.headers)
    with request.into.path.open("r+b" if at else "wb") as file:
        file.seek(at)
        file.truncate()
        yield file


def _tell(into: Into | None, count: int) -> None:
    """Tell whoever wants to know how much is there; raise IntegrityError for more than there is to come."""
    if into is not None and into.most is not None and count > into.most:
        raise IntegrityError(f"download: expected {into.most:,} bytes, found more; download it again")
    if into is not None and into.told is not None:
        into.told(count)


@contextmanager
def _told(request: Request, connection: Connection, timeout: float) -> Iterator[None]:
    """Log why an attempt failed; turn httpx's errors into ours, saying whether the request may have taken effect."""
    try:
        yield
    except BaseException as error:
        _log.debug("%s %s: %s", request.method, exchange.bare(request.path), type(error).__name__)
        if isinstance(error, httpx.RequestError | httpx.InvalidURL):
            raise _ours(error, request, connection, timeout) from _bare(error)
        raise


def _ours(error: Exception, request: Request, connection: Connection, timeout: float) -> APIError:
    place = {"method": request.method, "path": exchange.bare(request.path)}
    where = f"{place['method']} {place['path']}"
    if isinstance(error, httpx.TimeoutException):
        late = f"{timeout:g} s; try again, or raise timeout"
        if timeout < connection.timeout:
            late = f"the {timeout:.3g} s that the deadline of the call left; raise deadline"
        sentence = f"{where}: no answer within {late}"
        return APITimeoutError(sentence, **place, ambiguous=not isinstance(error, _NOT_SENT))
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError | httpx.InvalidURL):
        return APIError(f"{where}: the request cannot be sent, {error}; look at base_url and the headers", **place)
    reason, host = str(error) or type(error).__name__, exchange.host(request, connection)
    if "location" in reason.lower():
        reason = "its answer sends us to an address that cannot be read"  # and that may be signed
    sentence = f"{where}: no answer from {host}, {reason}; is the server running, and the network up?"
    return APIConnectionError(sentence, **place, ambiguous=not isinstance(error, _NOT_SENT))


def _bare(error: Exception) -> Exception | None:
    """Return an error without its request, which holds key and signature, and without its frames, which say nothing."""
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError | httpx.InvalidURL):
        return None  # it may quote what it could not send
    error.__context__ = error.__cause__ = None
    vars(error)["_request"] = None
    return error.with_traceback(None)


def _stripped(error: BaseException) -> BaseException:
    """Return one of our errors without the frames of the retrying; others keep theirs."""
    return error.with_traceback(None) if isinstance(error, APIError) else error


def _came(request: Request, raw: httpx.Response, body: bytes, seconds: float) -> Response:
    """Return httpx's answer as ours."""
    _log.debug("%s %s: %d in %.3f s", request.method, exchange.bare(request.path), raw.status_code, seconds)
    return Response(raw.status_code, {name.lower(): value for name, value in raw.headers.items()}, body, request)
