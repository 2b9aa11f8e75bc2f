"""Fixtures for tests of scripts that submit jobs: a local server for the run, a client for each test."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from preftune import Client, LocalServer


@pytest.fixture(scope="session")
def preftune_server() -> Iterator["LocalServer"]:
    """Yield a LocalServer that the whole test run shares; its folder is gone at the end."""
    from preftune import LocalServer  # noqa: PLC0415 - only runs that use it pay for it

    with LocalServer() as server:
        yield server


@pytest.fixture
def preftune_client(preftune_server: "LocalServer") -> Iterator["Client"]:
    """Yield a Client of the local server; it keeps no ledger, so that a test leaves nothing in the user's folder."""
    from preftune import Client  # noqa: PLC0415

    with Client(base_url=preftune_server.url, api_key=preftune_server.api_key, state_dir="") as client:
        yield client
