"""Both clients behind one face, with a clock that only sleeping moves; what they send is caught by respx."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Generator

import pytest

from preftune.client.clients import AsyncClient, Client
from preftune.client.drivers import Awaiting, Blocking

KEY = "key-of-the-tests"
BASE = "http://api.test"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("API_KEY", "BASE_URL"):
        monkeypatch.delenv(f"PREFTUNE_{name}", raising=False)
        monkeypatch.delenv(f"TOGETHER_{name}", raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class Rig:
    """Makes a client of its kind and does one call with it."""

    def __init__(self, kind):
        self.kind, self.slept, self.now, self.chance = kind, [], 0.0, 0.0

    def do(self, call, *, options=None, **settings):
        return (
            asyncio.run(self._await(call, options, settings))
            if self.kind == "async"
            else self._run(call, options, settings)
        )

    def _run(self, call, options, settings):
        with Client(**{"api_key": KEY, "base_url": BASE} | settings) as client:
            client._driver = Blocking(
                client._connection,
                http_client=client._http_client,
                sleep=self._sleep,
                now=self._tell,
                chance=lambda: self.chance,
            )
            answer = call(client.with_options(**options) if options else client)
            return list(answer) if isinstance(answer, Generator) else answer

    async def _await(self, call, options, settings):
        async with AsyncClient(**{"api_key": KEY, "base_url": BASE} | settings) as client:
            client._driver = Awaiting(
                client._connection,
                http_client=client._http_client,
                sleep=self._sleep_async,
                now=self._tell,
                chance=lambda: self.chance,
            )
            answer = call(client.with_options(**options) if options else client)
            if isinstance(answer, AsyncGenerator):
                return [item async for item in answer]
            return await answer if isinstance(answer, Coroutine) else answer

    def _tell(self):
        return self.now

    def _sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    async def _sleep_async(self, seconds):
        self._sleep(seconds)


@pytest.fixture(params=["sync", "async"])
def rig(request):
    return Rig(request.param)
