"""Where the API is, with which key, and how patient a call is: plain values, checked once, at construction.

Nothing here or in `clients` imports httpx, pydantic, typing or logging: constructing a client must cost almost nothing.
"""

import os

from preftune.client.secret import Secret
from preftune.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

DEFAULT_BASE_URL = "https://api.together.ai"
DEFAULT_TIMEOUT = 60.0  # seconds of one attempt
DEFAULT_MAX_RETRIES = 2
_STATE_DIR = "PREFTUNE_STATE_DIR"
_KEYS = ("PREFTUNE_API_KEY", "TOGETHER_API_KEY")
_URLS = ("PREFTUNE_BASE_URL", "TOGETHER_BASE_URL")


class Connection:
    """The settings of a client; a copy with other options shares the pool of the first."""

    __slots__ = (
        "api_key",
        "base_url",
        "deadline",
        "extra_body",
        "extra_headers",
        "extra_query",
        "max_retries",
        "proxy",
        "state_dir",
        "timeout",
    )

    def __init__(
        self,
        *,
        api_key: "str | None" = None,
        base_url: "str | None" = None,
        timeout: float = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        deadline: "float | None" = None,
        proxy: "str | Secret | None" = None,
        state_dir: "str | os.PathLike[str] | None" = None,
        extra_headers: "Mapping[str, str] | None" = None,
        extra_query: "Mapping[str, Any] | None" = None,
        extra_body: "Mapping[str, Any] | None" = None,
    ) -> None:
        self.api_key = _key(api_key)
        self.proxy = Secret(proxy) if isinstance(proxy, str) else proxy  # its address may hold a password
        given = os.environ.get(_STATE_DIR) if state_dir is None else os.fspath(state_dir)
        self.state_dir = os.path.abspath(given) if given else given  # noqa: PTH100 - pathlib is slow to import
        self.base_url = _origin(base_url or _from_environment(_URLS) or DEFAULT_BASE_URL)
        self.timeout, self.deadline = timeout, deadline
        self.max_retries = max_retries
        self.extra_headers = _headers(extra_headers or {})
        self.extra_query = dict(extra_query or {})
        self.extra_body = dict(extra_body or {})
        if not _is_count(max_retries):
            raise ConfigError(f"max_retries: expected 0 or more, found {max_retries!r}; 0 turns retrying off")
        if not _are_seconds(timeout) or not (deadline is None or _are_seconds(deadline)):
            raise ConfigError(
                f"timeout and deadline: expected seconds above 0, found {timeout!r} and {deadline!r}; leave them out"
            )

    def replaced(self, options: "Mapping[str, Any]") -> "Connection":
        """Return a copy with other options; extras are merged over the old ones."""
        own = {name: getattr(self, name) for name in self.__slots__ if name != "api_key"}
        for name, value in options.items():
            if value is not None:
                own[name] = {**own[name], **value} if name.startswith("extra_") else value
        return Connection(api_key=self.api_key.reveal(), **own)


def _key(given: "str | None") -> Secret:
    key = given or _from_environment(_KEYS)
    if not key:
        raise ConfigError(
            "api_key: expected a key, found none; set PREFTUNE_API_KEY (or TOGETHER_API_KEY), pass api_key=, "
            "or run `preftune serve`, which needs no account"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(
            "api_key: expected printable ASCII without spaces, found something else; copy the key once more"
        )
    return Secret(key)


def _headers(given: "Mapping[str, str]") -> "dict[str, str]":
    """Return headers that can be sent; one that cannot would be quoted by whoever tries, and may be a key."""
    for name, value in given.items():
        if not value.isascii() or not value.isprintable():
            raise ConfigError(
                f"extra_headers: expected printable ASCII in {name!r}, found something else; look for a line break"
            )
    return dict(given)


def _is_count(given: object) -> bool:
    return isinstance(given, int) and given >= 0


def _are_seconds(given: object) -> bool:
    """Tell whether a value is a number above 0, endless included; NaN is none."""
    return isinstance(given, int | float) and given > 0


def _origin(url: str) -> str:
    """Return the URL without a trailing slash and without /v1: both forms are in use."""
    if "@" in url.removeprefix("http://").removeprefix("https://").partition("/")[0]:
        raise ConfigError("base_url: expected no user name and password in it, found both; the key alone lets in")
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"base_url: expected http:// or https://, found {url!r}; for example {DEFAULT_BASE_URL}")
    return url.rstrip("/").removesuffix("/v1")


def _from_environment(names: "tuple[str, ...]") -> "str | None":
    return next((os.environ[name] for name in names if os.environ.get(name)), None)
