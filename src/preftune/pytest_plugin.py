"""Fixtures for tests of scripts that submit jobs: a local server for the run, clients for each test, faults on command.

Only pytest is imported here: a run that uses none of it pays for nothing else. Each process of a parallel run has a
server of its own, on a free port. docs/testing.md shows what a test looks like.
"""

import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    import respx

    from preftune import AsyncClient, Client, LocalServer
    from preftune.api.models import FineTuneJob
    from preftune.local.faults import Faults
    from preftune.recipes.recorded import Recorded

MARKER = (
    "preftune(*faults): run the test in the environment of the local server, so that a script under test talks to it; "
    "each argument is a rule of what is to go wrong, as `preftune serve --fault` takes it"
)

_EXAMPLE = 'write @pytest.mark.preftune("POST /fine-tunes 500 once")'


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the marker."""
    config.addinivalue_line("markers", MARKER)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Have a test with the marker begin in its environment, with its faults."""
    if isinstance(item, pytest.Function) and item.get_closest_marker("preftune"):
        # last, so that a project's own fixtures, which may clear such variables, do not undo it; and a new list, since
        # that of the item is shared by all parameters of the test
        item.fixturenames = [*item.fixturenames, "_preftune_marked"]


@pytest.fixture
def _preftune_marked(request: pytest.FixtureRequest, preftune_faults: "Faults") -> None:
    request.getfixturevalue("preftune_environment")
    for marker in request.node.iter_markers("preftune"):  # that of the test, then of its class and its module
        if marker.kwargs:
            found = ", ".join(marker.kwargs)
            pytest.fail(
                f"the marker preftune takes rules as texts, found the keyword {found}; {_EXAMPLE}", pytrace=False
            )
        for rule in marker.args:
            preftune_faults.add(rule)


@pytest.fixture(scope="session")
def preftune_server() -> Iterator["LocalServer"]:
    """Yield a LocalServer that the whole test run shares; its folder is gone at the end."""
    from preftune import LocalServer  # noqa: PLC0415 - only runs that use it pay for it

    with LocalServer() as server:
        yield server


@pytest.fixture
def preftune_environment(
    preftune_server: "LocalServer", monkeypatch: pytest.MonkeyPatch, tmp_path: "Path"
) -> "LocalServer":
    """Point the environment of a test at the local server, for preftune and for the official client, and return it."""
    _point_at(preftune_server.url, preftune_server.api_key, monkeypatch, tmp_path)
    return preftune_server


@pytest.fixture
def preftune_faults(preftune_server: "LocalServer") -> Iterator["Faults"]:
    """Yield the rules of what is to go wrong, none at first and none afterwards."""
    preftune_server.faults.clear()
    yield preftune_server.faults
    preftune_server.faults.clear()


@pytest.fixture
def preftune_client(preftune_server: "LocalServer") -> Iterator["Client"]:
    """Yield a Client of the local server; it keeps no ledger, so that a test leaves nothing in the user's folder."""
    from preftune import Client  # noqa: PLC0415

    with Client(base_url=preftune_server.url, api_key=preftune_server.api_key, state_dir="") as client:
        yield client


@pytest.fixture
def preftune_async_client(preftune_server: "LocalServer") -> "AsyncClient":
    """Return an AsyncClient of the local server, without a ledger; use it in the test's loop, as `async with` it."""
    from preftune import AsyncClient  # noqa: PLC0415

    return AsyncClient(base_url=preftune_server.url, api_key=preftune_server.api_key, state_dir="")


@pytest.fixture(scope="session")
def preftune_job(preftune_server: "LocalServer", tmp_path_factory: pytest.TempPathFactory) -> "FineTuneJob":
    """Return a finished DPO job of the local server, the same in every run; see `preftune.recipes.sample`."""
    from preftune import Client  # noqa: PLC0415
    from preftune.recipes.sample import train_sample  # noqa: PLC0415

    with Client(base_url=preftune_server.url, api_key=preftune_server.api_key, state_dir="") as client:
        return train_sample(client, tmp_path_factory.mktemp("preftune"))


@pytest.fixture
def preftune_respx(monkeypatch: pytest.MonkeyPatch, tmp_path: "Path") -> Iterator["respx.MockRouter"]:
    """Yield a respx router that answers as the local server did when it was recorded, without a socket.

    One file and one finished DPO job are there, whatever is uploaded and created. The environment points at it. Each
    route has the name of its operation, so `preftune_respx["create_job"].respond(500)` changes an answer.
    """
    respx = pytest.importorskip("respx", reason="preftune_respx needs respx: pip install respx")
    from preftune.recipes.recorded import BASE_URL, KEY, recorded  # noqa: PLC0415

    _point_at(BASE_URL, KEY, monkeypatch, tmp_path)
    with respx.mock(assert_all_called=False) as router:
        for one in recorded():
            pattern = re.compile(f"^{re.escape(BASE_URL)}{one.path}([?].*)?$")
            router.route(method=one.method, url=pattern, name=one.name).mock(side_effect=_answering(one))
        yield router


def _answering(one: "Recorded") -> "Callable[[httpx.Request], httpx.Response]":
    import httpx  # noqa: PLC0415

    def answer(request: httpx.Request) -> httpx.Response:
        status, headers, content = one.answer(request.headers.get("range"))
        return httpx.Response(status, headers=headers, content=content)

    return answer


def _point_at(url: str, key: str, monkeypatch: pytest.MonkeyPatch, folder: "Path") -> None:
    for name in ("PREFTUNE", "TOGETHER"):
        monkeypatch.setenv(f"{name}_API_KEY", key)
    monkeypatch.setenv("PREFTUNE_BASE_URL", url)
    monkeypatch.setenv("TOGETHER_BASE_URL", url if _official_client() >= _ORIGIN_SINCE else f"{url}/v1")
    monkeypatch.setenv("PREFTUNE_STATE_DIR", str(folder / "preftune-state"))
    for name in ("NO_PROXY", "no_proxy"):  # a proxy could not reach this machine
        monkeypatch.setenv(name, ",".join(filter(None, [os.environ.get(name), urlsplit(url).hostname])))


_ORIGIN_SINCE = 3  # from this version on, the official client's base URL is without /v1


def _official_client() -> int:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return int(version("together").partition(".")[0])
    except PackageNotFoundError:
        return _ORIGIN_SINCE
