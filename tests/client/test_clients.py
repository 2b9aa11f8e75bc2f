import subprocess
import sys
import threading

import httpx
import pytest

import preftune as pt
from preftune.client import drivers
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


def test_a_closed_client_of_the_callers_own_is_not_replaced_silently(rig, respx_mock):
    respx_mock.get(f"{BASE}/v1/files").respond(json={})
    own = {"sync": httpx.Client, "async": httpx.AsyncClient}[rig.kind]()
    assert rig.do(lambda client: client.files.list(), http_client=own) == []
    with pytest.raises(ConfigError) as error:
        rig.do(lambda client: client.files.list(), http_client=own)
    assert (own.is_closed, str(error.value)) == (
        True,
        "http_client: expected an open client, found one that is closed; make another client with it",
    )


@pytest.mark.parametrize(
    ("kind", "other", "sentence"),
    [
        (pt.Client, httpx.AsyncClient, "http_client: expected an httpx.Client, found AsyncClient"),
        (pt.AsyncClient, httpx.Client, "http_client: expected an httpx.AsyncClient, found Client"),
        (pt.Client, dict, "http_client: expected an httpx.Client, found dict"),
    ],
)
def test_a_client_of_the_wrong_kind_is_refused(kind, other, sentence):
    with pytest.raises(ConfigError) as error:
        _ = kind(api_key="k", http_client=other()).files
    assert str(error.value) == sentence


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_proxy_is_shown_to_nobody(kind):
    client = kind(api_key="k", base_url=BASE, proxy="http://user:password-of-the-proxy@127.0.0.1:1")
    assert client.files  # the driver is made now
    copy = client.with_options(timeout=1)
    shown = f"{client} {vars(client)} {vars(copy)} {vars(client._driver)} {client._connection} {copy._connection.proxy}"
    assert "password-of" not in shown
    assert copy._connection.proxy.reveal() == "http://user:password-of-the-proxy@127.0.0.1:1"


@pytest.mark.parametrize("kind", CLIENTS)
def test_the_state_folder_is_the_argument_or_the_variable_or_the_users_own(kind, monkeypatch, tmp_path):
    monkeypatch.setenv("PREFTUNE_STATE_DIR", str(tmp_path / "variable"))
    assert kind(api_key="k", state_dir=tmp_path / "argument").state_dir == tmp_path / "argument"
    assert kind(api_key="k").state_dir == tmp_path / "variable"
    assert kind(api_key="k", state_dir="").state_dir is None
    monkeypatch.setenv("PREFTUNE_STATE_DIR", "")
    assert kind(api_key="k").state_dir is None
    monkeypatch.delenv("PREFTUNE_STATE_DIR")
    monkeypatch.setattr("platformdirs.user_state_path", lambda *names, **options: tmp_path.joinpath(*names))
    assert kind(api_key="k").state_dir == tmp_path / "preftune"


@pytest.mark.parametrize("kind", CLIENTS)
def test_threads_that_come_first_at_once_share_one_driver(kind, monkeypatch):
    client, made, found, came = kind(api_key="k", base_url=BASE), [], [], threading.Event()
    original = getattr(drivers, "Blocking" if kind is pt.Client else "Awaiting")

    def second():
        found.append(client._running)
        came.set()

    class Slow(original):
        def __init__(self, *args, **settings):
            made.append(True)
            if len(made) == 1:
                other.start()
                came.wait(0.05)  # as long as this one is not there yet, the other must not make its own
            super().__init__(*args, **settings)

    other = threading.Thread(target=second)
    monkeypatch.setattr(drivers, original.__name__, Slow)
    found.append(client._running)
    other.join(5)
    assert (len(made), len(found), found[0] is found[1]) == (1, 2, True)


def test_a_path_without_its_slash_is_the_same_path(rig, respx_mock):
    route = respx_mock.get(f"{BASE}/v1/x").respond(json={})
    rig.do(lambda client: client.request("GET", "x"))
    assert route.call_count == 1
