"""The two clients: the same resources over two drivers. Everything heavy waits for the first resource."""

from _thread import allocate_lock  # `threading` itself is not needed before the first call

from preftune.client.connection import DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT, Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Mapping
    from os import PathLike
    from pathlib import Path
    from typing import Any, Self, TypeVar

    import httpx

    from preftune.api.steps import Feed, Flow, Response
    from preftune.client.drivers import Awaiting, Blocking
    from preftune.client.tables import Files, FineTuning

    T = TypeVar("T")


_first = allocate_lock()  # a client has one driver, also when several threads come first at once


class _Settings:
    """What both clients are constructed from."""

    def __init__(
        self,
        *,
        api_key: "str | None" = None,
        base_url: "str | None" = None,
        timeout: float = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        deadline: "float | None" = None,
        proxy: "str | None" = None,
        state_dir: "str | PathLike[str] | None" = None,
        http_client: "Any" = None,
    ) -> None:
        self._connection = Connection(
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            max_retries=max_retries,
            deadline=deadline,
            proxy=proxy,
            state_dir=state_dir,
        )
        self._http_client = http_client
        self._driver: Any = None

    @property
    def base_url(self) -> str:
        """Return the origin that requests go to."""
        return self._connection.base_url

    @property
    def state_dir(self) -> "Path | None":
        """Return the folder where the ledger of jobs stands; None when there is to be none."""
        from preftune.client.ledger import state_folder  # noqa: PLC0415

        return state_folder(self._connection.state_dir)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self._connection.base_url!r})"

    def with_options(
        self,
        *,
        timeout: "float | None" = None,
        max_retries: "int | None" = None,
        deadline: "float | None" = None,
        extra_headers: "Mapping[str, str] | None" = None,
        extra_query: "Mapping[str, Any] | None" = None,
        extra_body: "Mapping[str, Any] | None" = None,
    ) -> "Self":
        """Return a client with other options and the same connections; extras go with every call of the API."""
        options = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        copy = object.__new__(type(self))
        copy._connection = self._connection.replaced(options)
        copy._http_client = self._http_client
        copy._driver = self._running.sharing(copy._connection)
        return copy

    if TYPE_CHECKING:

        @property
        def _running(self) -> Any: ...


class Client(_Settings):
    """The synchronous client. One can be shared by threads; close it, or use it as a context manager.

    `timeout` is the seconds of one attempt (of a transfer: without a byte), `deadline` those of a whole call with its
    retries and pauses (of a stream: of each of its requests). The key and the address come from PREFTUNE_API_KEY and
    PREFTUNE_BASE_URL (or `TOGETHER_…`) when they are not given. `proxy` is for the connections that are made here,
    those to storage too; `http_client` takes the place of those to the API. `state_dir` holds the ledger of jobs
    (PREFTUNE_STATE_DIR; empty: none). Raises ConfigError without a key.
    """

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            api_key: str | None = None,
            base_url: str | None = None,
            timeout: float = DEFAULT_TIMEOUT,
            max_retries: int = DEFAULT_MAX_RETRIES,
            deadline: float | None = None,
            proxy: str | None = None,
            state_dir: str | PathLike[str] | None = None,
            http_client: httpx.Client | None = None,
        ) -> None: ...

    @property
    def files(self) -> "Files[Blocking]":
        """Uploaded files."""
        from preftune.client.tables import Files  # noqa: PLC0415 - heavy, so not before it is used

        return Files(self._running)

    @property
    def fine_tuning(self) -> "FineTuning[Blocking]":
        """Training jobs."""
        from preftune.client.tables import FineTuning  # noqa: PLC0415

        return FineTuning(self._running)

    def run(self, flow: "Flow[T]") -> "T":
        """Return what a flow ends with, doing its steps."""
        result: T = self._running.run(flow)
        return result

    def stream(self, feed: "Feed[T]") -> "Generator[T, None, None]":
        """Yield what a feed emits, doing its steps."""
        return self._running.stream(feed)

    def request(
        self,
        method: str,
        path: str,
        *,
        params: "Any" = None,
        json: "Any" = None,
        headers: "Mapping[str, str] | None" = None,
    ) -> "Response":
        """Return the answer of a call that has no method here; `path` goes without /v1."""
        from preftune.client.tables import raw_request  # noqa: PLC0415

        return self.run(raw_request(method, path, params=params, json=json, headers=headers))

    def close(self) -> None:
        """Close the connections."""
        if self._driver is not None:
            self._driver.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _running(self) -> "Blocking":
        if self._driver is None:
            from preftune.client.drivers import Blocking  # noqa: PLC0415

            with _first:
                known: Blocking | None = self._driver
                self._driver = known or Blocking(self._connection, http_client=self._http_client)
        return self._driver  # type: ignore[no-any-return]


class AsyncClient(_Settings):
    """The asynchronous client: the same resources, each call awaited, each stream an async generator.

    It can be used from several event loops in turn; each has connections of its own. See `Client` for the arguments.
    """

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            api_key: str | None = None,
            base_url: str | None = None,
            timeout: float = DEFAULT_TIMEOUT,
            max_retries: int = DEFAULT_MAX_RETRIES,
            deadline: float | None = None,
            proxy: str | None = None,
            state_dir: str | PathLike[str] | None = None,
            http_client: httpx.AsyncClient | None = None,
        ) -> None: ...

    @property
    def files(self) -> "Files[Awaiting]":
        """Uploaded files."""
        from preftune.client.tables import Files  # noqa: PLC0415

        return Files(self._running)

    @property
    def fine_tuning(self) -> "FineTuning[Awaiting]":
        """Training jobs."""
        from preftune.client.tables import FineTuning  # noqa: PLC0415

        return FineTuning(self._running)

    async def run(self, flow: "Flow[T]") -> "T":
        """Return what a flow ends with, doing its steps."""
        result: T = await self._running.run(flow)
        return result

    def stream(self, feed: "Feed[T]") -> "AsyncGenerator[T, None]":
        """Yield what a feed emits, doing its steps."""
        return self._running.stream(feed)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: "Any" = None,
        json: "Any" = None,
        headers: "Mapping[str, str] | None" = None,
    ) -> "Response":
        """Return the answer of a call that has no method here; `path` goes without /v1."""
        from preftune.client.tables import raw_request  # noqa: PLC0415

        return await self.run(raw_request(method, path, params=params, json=json, headers=headers))

    async def close(self) -> None:
        """Close the connections of the running loop."""
        if self._driver is not None:
            await self._driver.close()

    async def __aenter__(self) -> "Self":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def _running(self) -> "Awaiting":
        if self._driver is None:
            from preftune.client.drivers import Awaiting  # noqa: PLC0415

            with _first:
                known: Awaiting | None = self._driver
                self._driver = known or Awaiting(self._connection, http_client=self._http_client)
        return self._driver  # type: ignore[no-any-return]
