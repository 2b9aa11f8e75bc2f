"""The resources: one table of endpoints each, for both clients.

An endpoint binds a flow as a method. Which method it becomes is told by the driver's type: `Files[Blocking].retrieve`
returns a File, `Files[Awaiting].retrieve` a coroutine of one; for type checkers, editors and `help()` alike.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from functools import cache
from typing import Any, Generic, ParamSpec, TypeVar, overload

from preftune.api import creation, files, fine_tuning, history, pricing, watching
from preftune.api.steps import Feed, Flow, Request, Response
from preftune.client import downloading, uploading
from preftune.client.drivers import Awaiting, Blocking
from preftune.errors import ConfigError

D = TypeVar("D", Blocking, Awaiting)
P = ParamSpec("P")
T = TypeVar("T")


class Resource(Generic[D]):
    """A group of calls over one driver."""

    _driver: D

    def __init__(self, driver: D) -> None:
        self._driver = driver


class Endpoint(Generic[P, T]):
    """A flow as a method: called and returned, or awaited."""

    def __init__(self, flow: Callable[P, Flow[T]]) -> None:
        self._flow = flow

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, resource: None, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, resource: Resource[Blocking], owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, resource: Resource[Awaiting], owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, resource: Resource[Any] | None, owner: type) -> Callable[P, Any]:
        flow = self._flow
        if resource is None:
            return _named_like(flow, flow, self._name)
        driver = resource._driver  # noqa: SLF001 - of this file

        def blocking(*args: P.args, **kwargs: P.kwargs) -> T:
            return driver.run(flow(*args, **kwargs))  # type: ignore[no-any-return]

        async def awaiting(*args: P.args, **kwargs: P.kwargs) -> T:
            return await driver.run(flow(*args, **kwargs))  # type: ignore[no-any-return]

        return _named_like(flow, awaiting if isinstance(driver, Awaiting) else blocking, self._name)


class Stream(Generic[P, T]):
    """A feed as a method: a generator, or an async generator (closable by `contextlib.aclosing`)."""

    def __init__(self, feed: Callable[P, Feed[T]]) -> None:
        self._feed = feed

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, resource: None, owner: type) -> Callable[P, Generator[T, None, None]]: ...
    @overload
    def __get__(self, resource: Resource[Blocking], owner: type) -> Callable[P, Generator[T, None, None]]: ...
    @overload
    def __get__(self, resource: Resource[Awaiting], owner: type) -> Callable[P, AsyncGenerator[T, None]]: ...
    def __get__(self, resource: Resource[Any] | None, owner: type) -> Callable[P, Any]:
        feed = self._feed
        if resource is None:
            return _named_like(feed, feed, self._name)
        driver = resource._driver  # noqa: SLF001 - of this file

        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return driver.stream(feed(*args, **kwargs))

        return _named_like(feed, method, self._name)


def _named_like(flow: Callable[..., Any], function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a function with the name, text and signature that `help()` and an editor show: what a call gives."""

    def method(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    shown: Any = function if function is not flow else method
    shown.__name__ = shown.__qualname__ = name
    shown.__doc__ = flow.__doc__
    shown.__signature__ = _shown_signature(flow)
    return shown  # type: ignore[no-any-return]


@cache
def _shown_signature(flow: Callable[..., Any]) -> inspect.Signature:
    signature = inspect.signature(flow)
    kind, _, item = str(signature.return_annotation).removesuffix("]").replace("builtins.", "").partition("[")
    return signature.replace(return_annotation=f"Iterator[{item}]" if kind == "Feed" else item)


class Files(Resource[D]):
    """Uploaded files."""

    upload = Endpoint(uploading.upload)
    list = Endpoint(files.list)
    retrieve = Endpoint(files.retrieve)
    content = Endpoint(files.content)
    download = Endpoint(downloading.download_file)
    delete = Endpoint(files.delete)
    wait = Endpoint(files.wait)


class FineTuning(Resource[D]):
    """Training jobs."""

    create = Endpoint(creation.create)
    list = Endpoint(history.list)
    last = Endpoint(history.last)
    retrieve = Endpoint(fine_tuning.retrieve)
    cancel = Endpoint(fine_tuning.cancel)
    delete = Endpoint(fine_tuning.delete)
    list_events = Endpoint(fine_tuning.list_events)
    list_checkpoints = Endpoint(fine_tuning.list_checkpoints)
    list_metrics = Endpoint(fine_tuning.list_metrics)
    stream_metrics = Stream(watching.stream_metrics)
    stream_events = Stream(watching.stream_events)
    follow = Stream(watching.follow)
    wait = Endpoint(watching.wait)
    download = Endpoint(downloading.download)
    estimate_price = Endpoint(pricing.estimate_price)
    model_limits = Endpoint(fine_tuning.model_limits)
    supported_models = Endpoint(fine_tuning.supported_models)
    preview = Endpoint(fine_tuning.preview)


def raw_request(
    method: str, path: str, *, params: Any = None, json: Any = None, headers: Mapping[str, str] | None = None
) -> Flow[Response]:
    """Make one request of the API and return its answer."""
    if ("?" in path and params) or path.startswith(("http://", "https://")):
        raise ConfigError(f"path: expected one of the API, as '/fine-tunes', found {path!r}; give its query as params=")
    response: Response = yield Request(method, path, params=params, json=json, headers=headers or {})
    return response
