"""Record what the local server answers to each kind of request of the sample's job, for tests without sockets.

Usage: python docs/record_answers.py. A test fails while an answer has another shape than a live one.
"""

from __future__ import annotations

import base64
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from preftune import Client, LocalServer
from preftune.recipes.recorded import BASE_URL, BINARY
from preftune.recipes.sample import train_sample, write_sample

TARGET = Path(__file__).parents[1] / "src" / "preftune" / "recipes" / "recorded.json"
UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
KEPT = ("content-type", "etag", "repr-digest", "location", "x-together-file-id", "accept-ranges", "content-disposition")


def main() -> None:
    """Write the recording."""
    answers = record()
    TARGET.write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")
    print(f"{len(answers)} answers, {TARGET.stat().st_size} bytes: {TARGET.name}")


def record() -> list[dict[str, Any]]:
    """Return the answers of a new local server, as they are kept."""
    with LocalServer() as server, tempfile.TemporaryDirectory() as folder:
        with Client(base_url=server.url, api_key=server.api_key, state_dir="") as client:
            job = train_sample(client, Path(folder)).id
        server.faults.add("stuck-queued")  # a job that is cancelled must not have ended before
        key = {"authorization": f"Bearer {server.api_key}"}
        with httpx.Client(base_url=server.url, headers=key) as http:
            description = http.get("/openapi.json").json()["paths"]
            names = {
                (method.upper(), path): one["operationId"]
                for path in description
                for method, one in description[path].items()
            }
            answers = list(_answers(http, job, Path(folder)))
            return [_kept(names, path, _as_one(answer, job, answers)) for path, answer in answers]


def _as_one(answer: httpx.Response, job: str, answers: list[tuple[str, httpx.Response]]) -> httpx.Response:
    """Return an answer that speaks of the one job and the one file, whichever it was given about."""
    file = next(one.json()["training_file"] for path, one in answers if path == "/v1/fine-tunes/{id}")

    def told(text: str) -> str:
        text = re.sub(rf"ft-{UUID}", job, re.sub(rf"file-{UUID}", file, text))
        return re.sub("-sample-[0-9a-f]{8}", f"-sample-{job[3:11]}", text)

    is_binary = answer.headers.get("content-type") == BINARY
    content = answer.content if is_binary else told(_only(answer.text, {job, file})).encode()
    headers = {name: told(value) for name, value in answer.headers.items()}
    return httpx.Response(answer.status_code, headers=headers, content=content, request=answer.request)


def _only(text: str, kept: set[str]) -> str:
    """Return a list of files or jobs without the others; any other answer as it is."""
    found = json.loads(text) if text else {}
    if not isinstance(found.get("data"), list) or not any("id" in one for one in found["data"]):
        return text
    return json.dumps(found | {"data": [one for one in found["data"] if one["id"] in kept]})


def _answers(http: httpx.Client, job: str, folder: Path) -> Iterator[tuple[str, httpx.Response]]:
    """Yield each path of the description with the answer to a request for it."""
    shown = http.get(f"/v1/fine-tunes/{job}").json()
    file, train = shown["training_file"], write_sample(folder)[0].read_bytes()
    fields = {"purpose": "fine-tune", "file_name": "train.jsonl", "file_type": "jsonl"}
    direct = {"file": ("other.jsonl", train.replace(b"What", b"How much"))}
    opened = http.post("/v1/files", data=fields)
    yield "/v1/files", opened
    yield "/storage/files/{id}", httpx.put(opened.headers["location"], content=train)
    yield "/v1/files/{id}/preprocess", http.post(f"/v1/files/{file}/preprocess")
    yield "/v1/files/upload", http.post("/v1/files/upload", data=fields, files=direct)
    yield "/v1/files", http.get("/v1/files")
    yield "/v1/files/{id}/content", http.get(f"/v1/files/{file}/content")
    yield "/v1/files/{id}", http.get(f"/v1/files/{file}")
    yield (
        "/v1/fine-tunes/models/limits",
        http.get("/v1/fine-tunes/models/limits", params={"model_name": shown["model"]}),
    )
    yield "/v1/fine-tunes/models/supported", http.get("/v1/fine-tunes/models/supported")
    yield "/v1/fine-tunes/estimate-price", http.post("/v1/fine-tunes/estimate-price", json={"training_file": file})
    yield "/v3/whoami", http.get("/v3/whoami")
    for path in ("events", "checkpoints", "metrics"):
        yield f"/v1/fine-tunes/{{id}}/{path}", http.get(f"/v1/fine-tunes/{job}/{path}")
    yield "/v1/finetune/download", http.get("/v1/finetune/download", params={"ft_id": job, "checkpoint": "adapter"})
    yield "/v1/fine-tunes", http.get("/v1/fine-tunes")
    created = http.post("/v1/fine-tunes", json={"training_file": file, "model": shown["model"], "suffix": "sample"})
    yield "/v1/fine-tunes/{id}/cancel", http.post(f"/v1/fine-tunes/{created.json()['id']}/cancel")
    yield "/v1/fine-tunes", http.post("/v1/fine-tunes", json={}) if created.is_error else _as_created(created, shown)
    yield "/v1/fine-tunes/{id}", http.get(f"/v1/fine-tunes/{job}")
    yield "/v1/fine-tunes/{id}", http.delete(f"/v1/fine-tunes/{created.json()['id']}")
    yield "/v1/files/{id}", http.delete(f"/v1/files/{file}")


def _as_created(created: httpx.Response, shown: dict[str, Any]) -> httpx.Response:
    """Return the answer to a creation as it was for the sample's job: its fields, before it ran."""
    body = {
        **created.json(),
        **{name: shown[name] for name in created.json() if name not in ("status", "events", "progress")},
    }
    return httpx.Response(200, json=body | {"status": "pending", "started_at": None}, request=created.request)


def _kept(names: dict[tuple[str, str], str], path: str, answer: httpx.Response) -> dict[str, Any]:
    answer.raise_for_status() if not answer.is_redirect else None
    method = answer.request.method
    headers = {name: value for name, value in answer.headers.items() if name in KEPT}
    if "location" in headers:
        headers["location"] = BASE_URL + urlsplit(headers["location"]).path
    pattern = re.sub(
        r"\\\{[a-z]+\\\}", "[^/]+", re.escape(path.replace("/v1/", "/", 1) if path.startswith("/v1/") else path)
    )
    return {
        "name": names[method, path],
        "method": method,
        "path": ("(/v1)?" if path.startswith("/v1/") else "") + pattern,
        "status": answer.status_code,
        "headers": headers,
        "content": base64.b64encode(answer.content).decode(),
    }


if __name__ == "__main__":
    main()
