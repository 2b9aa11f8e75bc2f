import math
from pathlib import Path

import pytest

from preftune.client.connection import Connection
from preftune.errors import ConfigError


@pytest.mark.parametrize(
    ("environment", "given", "expected"),
    [
        ({"TOGETHER_API_KEY": "t"}, None, "t"),
        ({"TOGETHER_API_KEY": "t", "PREFTUNE_API_KEY": "p"}, None, "p"),
        ({"TOGETHER_API_KEY": "t", "PREFTUNE_API_KEY": ""}, None, "t"),
        ({"TOGETHER_API_KEY": "t", "PREFTUNE_API_KEY": "p"}, "given", "given"),
    ],
)
def test_a_key_comes_from_the_argument_or_from_the_nearest_variable(monkeypatch, environment, given, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Connection(api_key=given).api_key.reveal() == expected


@pytest.mark.parametrize(
    ("environment", "given", "expected"),
    [
        ({}, None, "https://api.together.ai"),
        ({"TOGETHER_BASE_URL": "https://t/v1"}, None, "https://t"),
        ({"TOGETHER_BASE_URL": "https://t/v1", "PREFTUNE_BASE_URL": "http://p:1"}, None, "http://p:1"),
        ({"PREFTUNE_BASE_URL": "http://p:1"}, "http://g/v1/", "http://g"),
        ({}, "http://g/prefix/v1", "http://g/prefix"),
        ({}, "http://g/", "http://g"),
    ],
)
def test_an_address_comes_from_the_argument_or_from_the_nearest_variable(monkeypatch, environment, given, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Connection(api_key="k", base_url=given).base_url == expected


def test_without_a_key_the_variables_are_named():
    with pytest.raises(ConfigError) as error:
        Connection()
    assert str(error.value) == (
        "api_key: expected a key, found none; set PREFTUNE_API_KEY (or TOGETHER_API_KEY), pass api_key=, "
        "or run `preftune serve`, which needs no account"
    )


@pytest.mark.parametrize("key", ["abc\n", "a\rb", "a b", "schlüssel", "a\x00b", "\t"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key):
    with pytest.raises(ConfigError) as error:
        Connection(api_key=key)
    assert str(error.value) == (
        "api_key: expected printable ASCII without spaces, found something else; copy the key once more"
    )


@pytest.mark.parametrize(
    ("settings", "beginning"),
    [
        ({"base_url": "api.together.ai"}, "base_url: expected http:// or https://, found 'api.together.ai'; "),
        ({"max_retries": -1}, "max_retries: expected 0 or more, found -1; "),
        ({"max_retries": 1.5}, "max_retries: expected 0 or more, found 1.5; "),
        ({"timeout": "3"}, "timeout and deadline: expected seconds above 0, found '3' and None; "),
        ({"timeout": math.nan}, "timeout and deadline: expected seconds above 0, found nan and None; "),
        ({"deadline": math.nan}, "timeout and deadline: expected seconds above 0, found 60.0 and nan; "),
        ({"timeout": 0}, "timeout and deadline: expected seconds above 0, found 0 and None; "),
        ({"deadline": -2}, "timeout and deadline: expected seconds above 0, found 60.0 and -2; "),
        ({"extra_headers": {"x-a": "b\n"}}, "extra_headers: expected printable ASCII in 'x-a', found something else; "),
        ({"extra_headers": {"x-a": "ö"}}, "extra_headers: expected printable ASCII in 'x-a', found something else; "),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(settings, beginning):
    with pytest.raises(ConfigError) as error:
        Connection(api_key="k", **settings)
    assert str(error.value).startswith(beginning)


@pytest.mark.parametrize(
    "url", ["https://user:hidden@host/v1", "http://user@host", "user:hidden@host", "https://user:hidden@host:1"]
)
def test_an_address_with_a_password_is_refused_and_not_shown(url):
    with pytest.raises(ConfigError) as error:
        Connection(api_key="k", base_url=url)
    assert str(error.value) == ("base_url: expected no user name and password in it, found both; the key alone lets in")


def test_an_at_sign_in_a_path_is_no_password():
    assert Connection(api_key="k", base_url="http://host/@team/v1").base_url == "http://host/@team"


@pytest.mark.parametrize(
    ("environment", "given", "expected"),
    [
        ("/variable", None, "/variable"),
        ("/variable", "/argument", "/argument"),
        ("/variable", Path("/argument"), "/argument"),
        ("/variable", "", ""),
        ("", None, ""),
        (None, None, None),
        ("here", None, str(Path.cwd() / "here")),
    ],
)
def test_a_state_folder_is_kept_as_one_place_however_the_program_moves(monkeypatch, environment, given, expected):
    monkeypatch.delenv("PREFTUNE_STATE_DIR")
    if environment is not None:
        monkeypatch.setenv("PREFTUNE_STATE_DIR", environment)
    connection = Connection(api_key="k", state_dir=given)
    assert (connection.state_dir, connection.replaced({"timeout": 1}).state_dir) == (expected, expected)


def test_seconds_without_an_end_are_seconds():
    connection = Connection(api_key="k", timeout=math.inf, deadline=math.inf)
    assert (connection.timeout, connection.deadline) == (math.inf, math.inf)


def test_a_proxy_is_kept_as_a_secret_and_by_every_copy():
    connection = Connection(api_key="k", proxy="http://user:hidden@host:1")
    copy = connection.replaced({"timeout": 1})
    assert (f"{connection.proxy} {copy.proxy!r}", copy.proxy.reveal()) == (
        "Secret('…') Secret('…')",
        "http://user:hidden@host:1",
    )


def test_a_copy_has_other_options_and_merged_extras():
    first = Connection(
        api_key="k",
        base_url="http://x",
        deadline=9,
        extra_headers={"a": "1"},
        extra_query={"q": 1},
        extra_body={"b": 1},
    )
    other = first.replaced(
        {"timeout": 5.0, "max_retries": 0, "deadline": None, "extra_headers": {"c": "2"}, "extra_query": {"q": 2}}
    )
    assert {name: getattr(other, name) for name in Connection.__slots__ if name != "api_key"} == {
        "base_url": "http://x",
        "proxy": None,
        "state_dir": first.state_dir,
        "deadline": 9,
        "timeout": 5.0,
        "max_retries": 0,
        "extra_headers": {"a": "1", "c": "2"},
        "extra_query": {"q": 2},
        "extra_body": {"b": 1},
    }
    assert (other.api_key.reveal(), first.timeout, first.extra_headers) == ("k", 60.0, {"a": "1"})
