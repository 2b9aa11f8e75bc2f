"""The resources: one table of endpoints each, for both clients.

An endpoint binds a flow as a method. Which method it becomes is told by the driver's type: `Files[Blocking].retrieve`
returns a File, `Files[Awaiting].retrieve` a coroutine of one; for type checkers, editors and `help()` alike.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, Generic, ParamSpec, TypeVar, overload

from preftune.api import creation, files, fine_tuning, watching
from preftune.api.models import Event, MetricRow
from preftune.api.steps import Feed, Flow, Request, Response
from preftune.client import transfer
from preftune.client.drivers import Awaiting, Blocking

D = TypeVar("D", Blocking, Awaiting)
P = ParamSpec("P")
T = TypeVar("T")


class Resource(Generic[D]):
    """A group of calls over one driver."""

    def __init__(self, driver: D) -> None:
        self._driver = driver


class Endpoint(Generic[P, T]):
    """A flow as a method: called and returned, or awaited."""

    def __init__(self, flow: Callable[P, Flow[T]]) -> None:
        self._flow = flow

    def __set_name__(self, owner: type, name: str) -> None:
        self._name, self._owner = name, owner

    @overload
    def __get__(self, resource: None, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, resource: Resource[Blocking], owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, resource: Resource[Awaiting], owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, resource: Resource[Any] | None, owner: type) -> Callable[P, Any]:
        flow = self._flow
        if resource is None:
            return self._like_the_flow(flow)
        driver = resource._driver  # noqa: SLF001 - of this file
        if isinstance(driver, Awaiting):

            async def method(*args: P.args, **kwargs: P.kwargs) -> Any:
                return await driver.run(flow(*args, **kwargs))
        else:

            def method(*args: P.args, **kwargs: P.kwargs) -> Any:
                return driver.run(flow(*args, **kwargs))

        return self._like_the_flow(method)

    def _like_the_flow(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Give a function the name, text and signature that `help()` and an editor show."""

        def shown(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        function = method if method is not self._flow else shown
        function.__name__, function.__qualname__ = self._name, f"{self._owner.__qualname__}.{self._name}"
        function.__doc__, function.__module__ = self._flow.__doc__, self._owner.__module__
        function.__signature__ = inspect.signature(self._flow)  # type: ignore[attr-defined]
        return function


class Stream(Generic[P, T]):
    """A feed as a method: a generator, or an async generator (closable by `contextlib.aclosing`)."""

    def __init__(self, feed: Callable[P, Feed], _item: type[T]) -> None:
        self._endpoint: Endpoint[P, Any] = Endpoint(feed)  # type: ignore[arg-type]  # a feed is bound as a flow is
        self._feed = feed

    def __set_name__(self, owner: type, name: str) -> None:
        self._endpoint.__set_name__(owner, name)

    @overload
    def __get__(self, resource: None, owner: type) -> Callable[P, Generator[T, None, None]]: ...
    @overload
    def __get__(self, resource: Resource[Blocking], owner: type) -> Callable[P, Generator[T, None, None]]: ...
    @overload
    def __get__(self, resource: Resource[Awaiting], owner: type) -> Callable[P, AsyncGenerator[T, None]]: ...
    def __get__(self, resource: Resource[Any] | None, owner: type) -> Callable[P, Any]:
        if resource is None:
            return self._endpoint.__get__(None, owner)
        driver, feed = resource._driver, self._feed  # noqa: SLF001 - of this file

        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return driver.stream(feed(*args, **kwargs))

        return self._endpoint._like_the_flow(method)  # noqa: SLF001


class Files(Resource[D]):
    """Uploaded files."""

    upload = Endpoint(transfer.upload)
    list = Endpoint(files.list)
    retrieve = Endpoint(files.retrieve)
    content = Endpoint(files.content)
    delete = Endpoint(files.delete)
    wait = Endpoint(files.wait)


class FineTuning(Resource[D]):
    """Training jobs."""

    create = Endpoint(creation.create)
    list = Endpoint(fine_tuning.list)
    retrieve = Endpoint(fine_tuning.retrieve)
    cancel = Endpoint(fine_tuning.cancel)
    delete = Endpoint(fine_tuning.delete)
    list_events = Endpoint(fine_tuning.list_events)
    list_checkpoints = Endpoint(fine_tuning.list_checkpoints)
    list_metrics = Endpoint(fine_tuning.list_metrics)
    stream_metrics = Stream(watching.stream_metrics, MetricRow)
    stream_events = Stream(watching.stream_events, Event)
    wait = Endpoint(watching.wait)
    download = Endpoint(transfer.download)
    estimate_price = Endpoint(fine_tuning.estimate_price)
    model_limits = Endpoint(fine_tuning.model_limits)
    supported_models = Endpoint(fine_tuning.supported_models)


def raw_request(method: str, path: str, *, params: Any = None, json: Any = None) -> Flow[Response]:
    """Make one request of the API and return its answer."""
    response: Response = yield Request(method, path, params=params, json=json)
    return response
