import subprocess
import sys

import httpx
import pytest

import preftune as pt
from preftune.errors import ConfigError

BASE = "http://api.test"
CLIENTS = [pt.Client, pt.AsyncClient]


def imported_by(code):
    """Return the top-level modules that a fresh interpreter has after running some lines."""
    lines = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {"httpx", "pydantic", "numpy", "rich", "click", "starlette", "tenacity", "zstandard", "msgspec"}
SLOW = {"typing", "dataclasses", "logging", "asyncio", "json", "ssl", "inspect", "random"}


@pytest.mark.parametrize(
    "code",
    [
        "import preftune",
        "import preftune as pt; pt.Client(api_key='k')",
        "import preftune as pt; pt.AsyncClient(api_key='k', base_url='http://x/v1')",
    ],
)
def test_importing_the_package_and_making_a_client_import_nothing_heavy(code):
    bare = imported_by("")
    assert (imported_by(code) - bare) & (HEAVY | SLOW) == set()


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_client_without_a_key_says_what_to_set(kind):
    with pytest.raises(ConfigError, match=r"set PREFTUNE_API_KEY \(or TOGETHER_API_KEY\), pass api_key="):
        kind()


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_client_shows_its_address_and_not_its_key(kind):
    client = kind(api_key="key-of-the-tests", base_url=f"{BASE}/v1")
    assert (repr(client), client.base_url) == (f"{kind.__name__}(base_url='{BASE}')", BASE)
    assert "key-of" not in f"{client} {vars(client)} {vars(client.with_options(timeout=1))}"


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_copy_keeps_the_settings_that_are_not_given(kind):
    client = kind(api_key="k", base_url=BASE, timeout=7, max_retries=5, deadline=30)
    copy = client.with_options(timeout=3)
    assert type(copy) is kind
    assert (copy._connection.timeout, copy._connection.max_retries, copy._connection.deadline) == (3, 5, 30)
    assert (client._connection.timeout, copy.base_url) == (7, BASE)


@pytest.mark.parametrize("kind", CLIENTS)
def test_options_that_cannot_work_are_refused_at_once(kind):
    with pytest.raises(ConfigError, match="timeout and deadline: expected seconds above 0, found -1 and None"):
        kind(api_key="k").with_options(timeout=-1)


def test_a_copy_has_its_own_patience(rig, respx_mock):
    route = respx_mock.get(f"{BASE}/v1/x").respond(500)
    with pytest.raises(pt.errors.InternalServerError):
        rig.do(lambda client: client.request("GET", "/x"), options={"max_retries": 0})
    assert route.call_count == 1


def test_request_reaches_what_has_no_method(rig, respx_mock):
    route = respx_mock.post(f"{BASE}/v1/x", params={"a": "1"}, json={"b": 2}).respond(201, json={"c": 3})
    answer = rig.do(lambda client: client.request("POST", "/x", params={"a": 1}, json={"b": 2}))
    assert (answer.status, answer.content, route.call_count) == (201, b'{"c":3}', 1)


def test_a_client_is_closed_by_its_with_block(rig, respx_mock):
    respx_mock.get(f"{BASE}/v1/x").respond(json={})
    kept, pools = [], []

    def look(client):
        kept.append(client)
        answer = client.request("GET", "/x")
        pools.append(client._running)
        return answer

    rig.do(look)
    driver = kept[0]._driver
    assert (driver._clients if rig.kind == "sync" else driver._pools) == {}


def test_closing_a_copy_leaves_the_first_client_usable(respx_mock):
    respx_mock.get(f"{BASE}/v1/files").respond(json={})
    with pt.Client(api_key="k", base_url=BASE) as client:
        client.files.list()
        client.with_options(timeout=5).close()
        assert client.files.list() == []


def test_a_closed_client_of_the_callers_own_is_not_replaced_silently(respx_mock):
    respx_mock.get(f"{BASE}/v1/files").respond(json={})
    client = pt.Client(api_key="k", base_url=BASE, http_client=httpx.Client())
    client.files.list()
    client.close()
    with pytest.raises(RuntimeError, match="client has been closed"):
        client.files.list()


def test_a_path_without_its_slash_is_the_same_path(rig, respx_mock):
    route = respx_mock.get(f"{BASE}/v1/x").respond(json={})
    rig.do(lambda client: client.request("GET", "x"))
    assert route.call_count == 1
