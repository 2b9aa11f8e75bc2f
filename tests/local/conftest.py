"""What the tests of this room share: the application without a socket, and a worker that runs when told to."""

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from preftune.local import runner
from preftune.local.app import make_app
from preftune.local.options import Options
from preftune.local.store import Store

Row = dict[str, Any]
KEY = "local-test"


class Local:
    """The routes over a store, called in-process; jobs run on the calling thread."""

    def __init__(self, store: Store, **options: Any) -> None:
        self.store, self.woken = store, 0
        self.options = Options(api_key=KEY, **options)
        self.app = make_app(store, self.options, wake=self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def call(self, method: str, path: str, *, key: str | None = KEY, **sent: Any) -> httpx.Response:
        """Return the answer to one request; an unhandled error is the 500 that a client would see."""
        headers = {"authorization": f"Bearer {key}"} if key is not None else {}
        return asyncio.run(_request(self.app, method, path, headers=headers | sent.pop("headers", {}), **sent))

    def get(self, path: str, **params: Any) -> Any:
        """Return the JSON of a reading that succeeds."""
        answer = self.call("GET", path, params=params or None)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def upload(self, rows: list[Row] | bytes, **form: str) -> str:
        """Upload a file in three steps and return its id once it has been read; known content is not sent again."""
        content = rows if isinstance(rows, bytes) else lines(rows)
        fields = {"purpose": "fine-tune", "file_name": "pairs.jsonl", "file_type": "jsonl"}
        fields |= {"checksum": hashlib.sha256(content).hexdigest()} | form
        opened = self.call("POST", "/v1/files", files={name: (None, value) for name, value in fields.items()})
        if opened.status_code == 409:
            return str(opened.json()["file_id"])
        assert opened.status_code == 302, opened.text
        assert self.call("PUT", opened.headers["location"], key=None, content=content).status_code == 200
        file_id: str = opened.headers["x-together-file-id"]
        assert self.call("POST", f"/v1/files/{file_id}/preprocess").status_code == 200
        eventually(lambda: (self.store.file(file_id) or {})["status"] not in ("QUEUED", "RUNNING"))
        return file_id

    def create(self, **fields: Any) -> Row:
        """Create a job and return its object."""
        answer = self.call("POST", "/v1/fine-tunes", json={"model": "acme/tiny"} | fields)
        assert answer.status_code == 200, answer.text
        created: Row = answer.json()
        return created

    def train(self, **fields: Any) -> Row:
        """Create a job, run it to its end, and return what `retrieve` says of it."""
        job_id = self.create(**fields)["id"]
        assert runner.run_next(self.store)
        ended: Row = self.get(f"/v1/fine-tunes/{job_id}")
        return ended

    def rows(self, job: Row) -> list[Row]:
        """Return the metrics of a job without the time of their writing."""
        metrics = self.get(f"/v1/fine-tunes/{job['id']}/metrics")["metrics"]
        return [{name: value for name, value in row.items() if name != "timestamp"} for row in metrics]

    def steps(self, job: Row, split: str) -> list[int]:
        """Return the steps at which a job wrote a row of one split."""
        return [row["train/global_step"] for row in self.rows(job) if f"{split}/loss" in row]


async def _request(app: Starlette, method: str, path: str, **sent: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://local") as client:
        return await client.request(method, path, **sent)


async def _end(app: Starlette) -> None:
    async with app.router.lifespan_context(app):
        pass


def lines(rows: list[Row]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def eventually(condition: Callable[[], Any], *, seconds: float = 20.0) -> Any:
    """Return what a condition becomes, looking often; fail when it stays false."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.01)):
        found = condition()
        if found:
            return found
        pause.wait(0.01)
    pytest.fail(f"still false after {seconds:g} s: {condition}")


def make_pairs(count: int, **more: Any) -> list[Row]:
    """Return preference rows, each with answers of its own."""
    return [
        {
            "input": {"messages": [{"role": "user", "content": f"How is {i}?"}]},
            "preferred_output": [{"role": "assistant", "content": f"Number {i} is fine."}],
            "non_preferred_output": [{"role": "assistant", "content": f"Bah, {i}!"}],
        }
        | more
        for i in range(count)
    ]


def make_chats(count: int) -> list[Row]:
    """Return conversations, each with an answer of its own."""
    return [
        {"messages": [{"role": "user", "content": f"Say {i}."}, {"role": "assistant", "content": f"It is {i}."}]}
        for i in range(count)
    ]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Yield an empty store."""
    opened = Store(tmp_path / "data")
    opened.prepare()
    yield opened
    opened.close()


@pytest.fixture
def local(store: Store) -> Iterator[Local]:
    """Yield the application over an empty store."""
    running = Local(store)
    yield running
    asyncio.run(_end(running.app))


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., Any]:
    """Return the bounded wait for a condition."""
    return eventually


@pytest.fixture
def pairs() -> Callable[..., list[Row]]:
    """Return the maker of preference rows."""
    return make_pairs


@pytest.fixture
def chats() -> Callable[[int], list[Row]]:
    """Return the maker of conversations."""
    return make_chats
