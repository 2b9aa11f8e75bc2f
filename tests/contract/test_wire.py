"""The facts of the interface as data, held against both sides: what our client sends and what the local server answers.

Both share the room `api` and could be wrong together; here neither is asked what is right. Sections are those of the
wire's description.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

import preftune as pt
from preftune import errors
from preftune.api.models import FINAL, metric_rows
from preftune.client import uploading

BASE, KEY = "http://hosted.test", "key-of-the-user"
NUMBER, TEXT, WHOLE = (int, float), str, int
CONTENT = b"".join(
    json.dumps(
        {
            "input": {"messages": [{"role": "user", "content": f"How is {i}?"}]},
            "preferred_output": [{"role": "assistant", "content": f"Number {i} is fine."}],
            "non_preferred_output": [{"role": "assistant", "content": f"Bah, {i}!"}],
        }
    ).encode()
    + b"\n"
    for i in range(4)
)
SHA256 = hashlib.sha256(CONTENT).hexdigest()

# 1.4, 1.4 and 3.6: which exception a status is
STATUSES = {
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    402: errors.APIStatusError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    422: errors.UnprocessableEntityError,
    429: errors.RateLimitError,
    500: errors.InternalServerError,
    503: errors.InternalServerError,
    524: errors.InternalServerError,
    529: errors.InternalServerError,
}

# 2.1: every reply that is a file; the first seven are what preprocess is strictly read for
FILE = {
    "id": TEXT, "object": TEXT, "created_at": WHOLE, "filename": TEXT, "bytes": WHOLE, "purpose": TEXT,
    "FileType": TEXT, "processing_status": TEXT, "Processed": bool, "LineCount": WHOLE,
}  # fmt: skip

# 3.5
JOB = {
    "id": TEXT, "status": TEXT, "created_at": TEXT, "updated_at": TEXT, "user_id": TEXT, "owner_address": TEXT,
    "total_price": WHOLE, "token_count": WHOLE, "events": list, "training_file": TEXT, "validation_file": TEXT,
    "packing": bool, "model": TEXT, "model_output_name": TEXT, "suffix": TEXT, "n_epochs": WHOLE, "n_evals": WHOLE,
    "n_checkpoints": WHOLE, "batch_size": WHOLE, "training_type": dict, "training_method": dict,
    "learning_rate": NUMBER, "lr_scheduler": dict, "warmup_ratio": NUMBER, "max_grad_norm": NUMBER,
    "weight_decay": NUMBER, "random_seed": WHOLE, "wandb_project_name": TEXT, "wandb_name": TEXT,
    "from_checkpoint": TEXT, "progress": dict, "early_stopped": bool,
}  # fmt: skip
FULL_JOB = JOB | {
    "job_id": TEXT, "model_output_path": TEXT, "trainingfile_numlines": WHOLE, "trainingfile_size": WHOLE,
    "eval_steps": WHOLE, "param_count": WHOLE, "epochs_completed": WHOLE, "queue_depth": WHOLE, "wandb_url": TEXT,
    "total_steps": WHOLE, "steps_completed": WHOLE, "evals_completed": WHOLE,
}  # fmt: skip
EVENT = {
    "object": TEXT, "created_at": TEXT, "level": TEXT, "type": TEXT, "message": TEXT, "step": WHOLE,
    "total_steps": WHOLE, "token_count": WHOLE, "param_count": WHOLE, "checkpoint_path": TEXT, "model_path": TEXT,
    "wandb_url": TEXT, "training_offset": WHOLE, "hash": TEXT,
}  # fmt: skip
CHECKPOINT = {"step": WHOLE, "created_at": TEXT, "path": TEXT, "checkpoint_type": TEXT, "checkpoint": TEXT}
BATCHES = {"max_batch_size": WHOLE, "max_batch_size_dpo": WHOLE, "min_batch_size": WHOLE}
LIMITS = {
    "model_name": TEXT, "max_num_epochs": WHOLE, "max_num_evals": WHOLE, "max_num_checkpoints": WHOLE,
    "min_learning_rate": NUMBER, "max_learning_rate": NUMBER, "min_max_seq_length": WHOLE, "max_seq_length_sft": WHOLE,
    "max_seq_length_dpo": WHOLE, "default_gradient_accumulation_steps": WHOLE, "supports_vision": bool,
    "supports_tools": bool, "supports_reasoning": bool, "merge_output_lora": bool, "supports_full_training": bool,
    "lora_training": BATCHES | {"max_rank": WHOLE, "default_rank": WHOLE, "target_modules": list},
    "full_training": BATCHES,
}  # fmt: skip
PRICE = {
    "estimation_available": bool, "allowed_to_proceed": bool, "estimated_total_price": NUMBER, "user_limit": NUMBER,
    "estimated_train_token_count": WHOLE, "estimated_eval_token_count": WHOLE,
}  # fmt: skip

# 6: a key on the wire, and the field that our client reads it into
METRICS = {
    "loss": "loss",
    "reward/accuracy": "accuracy",
    "reward/chosen": "rewards_chosen",
    "reward/rejected": "rewards_rejected",
    "approx. KL/chosen": "kl_chosen",
    "approx. KL/rejected": "kl_rejected",
    "logps/chosen": "logps_chosen",
    "logps/rejected": "logps_rejected",
}
OF_TRAINING_ALONE = {"grad_norm": "grad_norm", "learning_rate": "learning_rate"}

# 4.2
_EVENT_TYPES = (
    "job_pending job_start job_stopped model_downloading model_download_complete training_data_downloading "
    "training_data_download_complete validation_data_downloading validation_data_download_complete wandb_init "
    "training_start checkpoint_save billing_limit epoch_complete training_complete model_compressing "
    "model_compression_complete model_uploading model_upload_complete job_complete job_error cancel_requested "
    "job_restarted refund warning early_stopped tokenized_dataset_upload_complete"
)
EVENT_TYPES = frozenset(_EVENT_TYPES.split())

# 3.4, as the official client writes it (trace 14); file-known, ft-done and the like stand for ids of the server
CREATE = {
    "training_file": "file-known",
    "packing": True,
    "model": "local/tiny",
    "n_epochs": 2,
    "learning_rate": 0.0001,
    "lr_scheduler": {"lr_scheduler_type": "cosine", "lr_scheduler_args": {"min_lr_ratio": 0.0, "num_cycles": 0.5}},
    "warmup_ratio": 0.0,
    "max_grad_norm": 1.0,
    "weight_decay": 0.0,
    "n_checkpoints": 2,
    "n_evals": 0,
    "max_seq_length": 512,
    "batch_size": 2,
    "suffix": "demo",
    "random_seed": 7,
    "early_stopping_enabled": False,
    "training_type": {
        "lora_r": 8,
        "lora_alpha": 16,
        "lora_dropout": 0.0,
        "lora_trainable_modules": "all-linear",
        "type": "Lora",
    },
    "training_method": {
        "method": "dpo",
        "dpo_beta": 2.0,
        "dpo_normalize_logratios_by_length": True,
        "dpo_reference_free": True,
        "simpo_gamma": 0.5,
    },
}


def config(file_id: str) -> pt.JobConfig:
    """Return what a user of ours writes to have CREATE sent."""
    return pt.JobConfig(
        model="local/tiny",
        training_file=file_id,
        training_method=pt.DPO(dpo_beta=2.0, simpo_gamma=0.5),
        training_type=pt.LoRA(lora_r=8, lora_alpha=16),
        n_epochs=2,
        n_checkpoints=2,
        learning_rate=1e-4,
        max_seq_length=512,
        batch_size=2,
        suffix="demo",
        random_seed=7,
    )


@dataclass(frozen=True)
class Fact:
    """One call: its request, on the left what our client does for it, on the right what the server answers."""

    section: str
    method: str
    path: str
    call: Callable[[Any], Any]
    reply: dict[str, Any]
    query: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | None = None
    items: dict[str, Any] | None = None  # of the objects in the reply's only list

    def __str__(self) -> str:
        return f"{self.section} {self.method} {self.path}"


FACTS = [
    Fact("2.5", "GET", "/v1/files", lambda c: c.files.list(), {"data": list, "object": TEXT}, items=FILE),
    Fact(
        "2.5",
        "GET",
        "/v1/files/file-known",
        lambda c: c.files.retrieve("file-known"),
        FILE | {"validation_report": dict},
    ),
    Fact(
        "3.1",
        "GET",
        "/v1/fine-tunes/models/limits",
        lambda c: c.fine_tuning.model_limits("local/tiny"),
        LIMITS,
        query={"model_name": "local/tiny"},
    ),
    Fact("3.2", "GET", "/v1/fine-tunes/models/supported", lambda c: c.fine_tuning.supported_models(), {"models": list}),
    Fact(
        "3.3",
        "POST",
        "/v1/fine-tunes/estimate-price",
        lambda c: c.fine_tuning.estimate_price(config("file-known")),
        PRICE,
        body={name: CREATE[name] for name in ("training_file", "model", "n_epochs", "n_evals", "training_method")},
    ),
    Fact("3.4", "POST", "/v1/fine-tunes", lambda c: c.fine_tuning.create(config("file-known")), JOB, body=CREATE),
    Fact("3.6", "GET", "/v1/fine-tunes", lambda c: c.fine_tuning.list(), {"data": list}, items=JOB),
    Fact("3.5", "GET", "/v1/fine-tunes/ft-done", lambda c: c.fine_tuning.retrieve("ft-done"), FULL_JOB),
    Fact(
        "3.6",
        "GET",
        "/v1/fine-tunes/ft-done/events",
        lambda c: c.fine_tuning.list_events("ft-done"),
        {"data": list},
        items=EVENT,
    ),
    Fact(
        "3.6",
        "GET",
        "/v1/fine-tunes/ft-done/checkpoints",
        lambda c: c.fine_tuning.list_checkpoints("ft-done"),
        {"data": list},
        items=CHECKPOINT,
    ),
    Fact(
        "6",
        "GET",
        "/v1/fine-tunes/ft-done/metrics",
        lambda c: c.fine_tuning.list_metrics("ft-done", from_step=1, to_step=2, resolution=50),
        {"metrics": list},
        query={"global_step_from": "1", "global_step_to": "2", "resolution": "50"},
        items={"timestamp": NUMBER, "train/global_step": NUMBER, "train/epoch": NUMBER},
    ),
    Fact("3.6", "POST", "/v1/fine-tunes/ft-waiting/cancel", lambda c: c.fine_tuning.cancel("ft-waiting"), JOB),
    Fact("3.6", "DELETE", "/v1/fine-tunes/ft-waiting", lambda c: c.fine_tuning.delete("ft-waiting"), {"message": TEXT}),
    Fact(
        "2.5",
        "DELETE",
        "/v1/files/file-unused",
        lambda c: c.files.delete("file-unused"),
        {"id": TEXT, "object": TEXT, "deleted": bool},
    ),
]


# our client


@pytest.fixture
def hosted() -> Iterator[respx.MockRouter]:
    """Yield a hosted side that answers what it is told to and remembers what it was asked."""
    with respx.mock(assert_all_called=False) as router:
        yield router


@pytest.fixture
def client() -> Iterator[pt.Client]:
    """Yield a client of it that does not try again."""
    with pt.Client(base_url=BASE, api_key=KEY, max_retries=0) as made:
        yield made


@pytest.mark.parametrize("fact", FACTS, ids=str)
def test_our_client_asks_as_the_official_one_does(hosted, client, fact):
    hosted.get(path="/v1/fine-tunes").mock(httpx.Response(200, json={"data": []}))
    route = hosted.route(method=fact.method, path=fact.path).mock(httpx.Response(200, json={"id": "ft-1"}))
    fact.call(client)
    request = route.calls.last.request
    assert (request.url.scheme, request.url.host) == ("http", "hosted.test")
    assert (request.headers["authorization"], request.headers["accept"]) == (f"Bearer {KEY}", "application/json")
    assert dict(request.url.params) == fact.query
    sent = json.loads(request.content or b"{}")
    assert {name: sent.get(name) for name in fact.body or {}} == (fact.body or {})
    assert fact.body is not None or request.content == b""


def test_our_client_creates_with_exactly_the_official_body(hosted, client):
    hosted.get(f"{BASE}/v1/fine-tunes").mock(httpx.Response(200, json={"data": []}))
    route = hosted.post(f"{BASE}/v1/fine-tunes").mock(httpx.Response(200, json={"id": "ft-1"}))
    client.fine_tuning.create(config("file-known"))
    assert json.loads(route.calls.last.request.content) == CREATE


@pytest.mark.parametrize("base", [BASE, f"{BASE}/", f"{BASE}/v1", f"{BASE}/v1/"])
def test_our_client_takes_a_base_url_with_and_without_v1(hosted, base):
    route = hosted.get(f"{BASE}/v1/files").mock(httpx.Response(200, json={"data": []}))
    with pt.Client(base_url=base, api_key=KEY) as client:
        assert client.files.list() == []
    assert route.call_count == 1


@pytest.mark.parametrize("status", STATUSES)
def test_our_client_raises_what_a_status_stands_for(hosted, client, status):
    error = {"message": "the reason", "type": "t", "param": None, "code": None}
    hosted.get(f"{BASE}/v1/files/file-1").mock(httpx.Response(status, json={"error": error}))
    with pytest.raises(errors.APIStatusError, match="the reason") as caught:
        client.files.retrieve("file-1")
    assert (type(caught.value), caught.value.status, caught.value.body) == (STATUSES[status], status, {"error": error})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a file to upload."""
    path = tmp_path / "pref.jsonl"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("status", [302, 200, 201])
def test_our_client_uploads_in_three_steps(hosted, client, source, status):
    place = "http://storage.test/file-1?X-Amz-Signature=abc"
    headers = {"location": place, "x-together-file-id": "file-1"}
    opened = hosted.post(f"{BASE}/v1/files").mock(httpx.Response(status, headers=headers))
    stored = hosted.put(place).mock(httpx.Response(200))
    done = hosted.post(f"{BASE}/v1/files/file-1/preprocess").mock(httpx.Response(200, json={"id": "file-1"}))
    assert client.files.upload(source).id == "file-1"
    parts = parts_of(opened.calls.last.request)
    assert parts == {"purpose": "fine-tune", "file_name": "pref.jsonl", "file_type": "jsonl", "checksum": SHA256}
    request = stored.calls.last.request
    assert (request.content, request.headers["content-length"]) == (CONTENT, str(len(CONTENT)))
    assert not {"authorization", "transfer-encoding"} & set(request.headers)
    assert done.calls.last.request.content == b""


def parts_of(request: httpx.Request) -> dict[str, str]:
    """Return the text parts of a multipart form; a part with a file name would be a file."""
    kind, _, boundary = request.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/form-data"
    parts = {}
    for part in request.content.split(f"--{boundary}".encode())[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        assert b"filename" not in head
        parts[head.partition(b'name="')[2].partition(b'"')[0].decode()] = value.removesuffix(b"\r\n").decode()
    return parts


def test_our_client_takes_the_file_that_a_duplicate_names(hosted, client, source):
    known = {"error": {"message": "File already exists", "type": "invalid_request_error"}, "file_id": "file-7"}
    hosted.post(f"{BASE}/v1/files").mock(httpx.Response(409, json=known))
    hosted.get(f"{BASE}/v1/files/file-7").mock(httpx.Response(200, json={"id": "file-7", "bytes": 5}))
    assert client.files.upload(source).id == "file-7"


@pytest.mark.parametrize(
    ("number", "place", "done"),
    [
        ("PartNumber", "URL", {"file": {"id": "file-1", "bytes": 5}}),
        ("part_number", "UploadURL", {"id": "file-1", "bytes": 5}),
    ],
)
def test_our_client_uploads_in_parts(hosted, client, source, monkeypatch, number, place, done):
    monkeypatch.setattr(uploading, "_PART", len(CONTENT) // 2 + 1)
    places = [f"http://storage.test/part-{part}?X-Amz-Signature=abc" for part in (1, 2)]
    parts = [{number: part, place: url, "Headers": {"x-part": str(part)}} for part, url in enumerate(places, start=1)]
    ids = {"upload_id": "upload-1", "file_id": "file-1"}
    opened = hosted.post(f"{BASE}/v1/files/multipart/initiate").mock(
        httpx.Response(200, json={**ids, "parts": parts[::-1]})
    )
    stored = [
        hosted.put(url).mock(httpx.Response(204, headers={"etag": f'"tag-{part}"'})) for part, url in enumerate(places)
    ]
    completed = hosted.post(f"{BASE}/v1/files/multipart/complete").mock(httpx.Response(200, json=done))
    file = client.files.upload(source, form="multipart")
    assert (file.id, file.bytes) == ("file-1", 5)
    assert json.loads(opened.calls.last.request.content) == {
        "file_name": "pref.jsonl",
        "file_size": len(CONTENT),
        "num_parts": 2,
        "purpose": "fine-tune",
        "file_type": "jsonl",
        "checksum": SHA256,
    }
    sent = [route.calls.last.request for route in stored]
    assert b"".join(request.content for request in sent) == CONTENT
    assert [request.headers["x-part"] for request in sent] == ["1", "2"]
    for request in sent:
        assert request.headers["content-length"] == str(len(request.content))
        assert not {"authorization", "transfer-encoding"} & set(request.headers)
    tags = [{"part_number": 1, "etag": "tag-0"}, {"part_number": 2, "etag": "tag-1"}]
    assert json.loads(completed.calls.last.request.content) == {**ids, "parts": tags}


def test_our_client_says_when_no_more_parts_come(hosted, client, source):
    ids = {"upload_id": "upload-1", "file_id": "file-1"}
    parts = [{"PartNumber": 1, "URL": "http://storage.test/part-1", "Headers": {}}]
    hosted.post(f"{BASE}/v1/files/multipart/initiate").mock(httpx.Response(200, json={**ids, "parts": parts}))
    hosted.put("http://storage.test/part-1").mock(httpx.Response(403))
    aborted = hosted.post(f"{BASE}/v1/files/multipart/abort").mock(httpx.Response(200, json={}))
    with pytest.raises(errors.PermissionDeniedError):
        client.files.upload(source, form="multipart")
    assert json.loads(aborted.calls.last.request.content) == ids


def test_our_client_takes_the_file_that_a_duplicate_in_parts_names(hosted, client, source):
    hosted.post(f"{BASE}/v1/files/multipart/initiate").mock(httpx.Response(409, json={"file_id": "file-7"}))
    hosted.get(f"{BASE}/v1/files/file-7").mock(httpx.Response(200, json={"id": "file-7"}))
    assert client.files.upload(source, form="multipart").id == "file-7"


@pytest.mark.parametrize(("gibibytes", "count"), [(1, 5), (5.01, 21), (50, 205), (100, 250)])
def test_our_client_cuts_a_large_file_as_the_official_one_does(gibibytes, count):
    size = int(gibibytes * 2**30)
    spans = uploading._spans(size)
    assert len(spans) == count
    assert [start for start, _ in spans] == [sum(length for _, length in spans[:part]) for part in range(count)]
    assert sum(length for _, length in spans) == size


def test_our_client_uploads_in_one_request(hosted, client, source):
    done = hosted.post(f"{BASE}/v1/files/upload").mock(httpx.Response(200, json={"id": "file-1"}))
    assert client.files.upload(source, form="direct").id == "file-1"
    request = done.calls.last.request
    kind, _, boundary = request.headers["content-type"].partition("; boundary=")
    assert (kind, request.headers["authorization"]) == ("multipart/form-data", f"Bearer {KEY}")
    assert request.headers["content-length"] == str(len(request.content))
    message = message_from_bytes(b"Content-Type: multipart/form-data; boundary=%b\r\n\r\n" % boundary.encode()
                                 + request.content)  # fmt: skip
    parts = [
        (part.get_param("name", header="content-disposition"), part.get_filename(), part.get_payload(decode=True))
        for part in message.get_payload()
    ]
    assert parts == [
        ("purpose", None, b"fine-tune"),
        ("file_name", None, b"pref.jsonl"),
        ("file_type", None, b"jsonl"),
        ("file", "pref.jsonl", CONTENT),
    ]


WEIGHTS = bytes(range(256)) * 4


def ranged(request: httpx.Request) -> httpx.Response:
    """Answer as a storage does that knows ranges."""
    first, _, last = request.headers["range"].removeprefix("bytes=").partition("-")
    start, end = int(first), min(int(last or len(WEIGHTS)), len(WEIGHTS) - 1)
    stated = {"content-range": f"bytes {start}-{end}/{len(WEIGHTS)}", "etag": '"one"'}
    return httpx.Response(206, headers=stated, content=WEIGHTS[start : end + 1])


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        ({}, {"ft_id": "ft-1", "checkpoint": "adapter"}),
        ({"checkpoint": "merged"}, {"ft_id": "ft-1", "checkpoint": "merged"}),
        ({"checkpoint": "adapter", "step": 6}, {"ft_id": "ft-1", "checkpoint": "adapter", "checkpoint_step": "6"}),
    ],
)
def test_our_client_looks_at_a_download_then_takes_it(hosted, client, tmp_path, asked, query):
    hosted.get(f"{BASE}/v1/fine-tunes/ft-1").mock(httpx.Response(200, json={"training_type": {"type": "Lora"}}))
    route = hosted.get(path="/v1/finetune/download").mock(side_effect=ranged)
    path = client.fine_tuning.download("ft-1", to=tmp_path, extract=False, **asked)
    assert path.read_bytes() == WEIGHTS
    requests = [call.request for call in route.calls]
    assert [request.headers["range"] for request in requests] == ["bytes=0-1", "bytes=0-"]
    assert [request.headers.get("if-range") for request in requests] == [None, '"one"']
    for request in requests:
        assert dict(request.url.params) == query
        assert request.headers["accept"] == "application/octet-stream"


def test_our_client_takes_what_full_training_made_by_its_own_name(hosted, client, tmp_path):
    hosted.get(f"{BASE}/v1/fine-tunes/ft-1").mock(httpx.Response(200, json={"training_type": {"type": "Full"}}))
    route = hosted.get(path="/v1/finetune/download").mock(side_effect=ranged)
    client.fine_tuning.download("ft-1", to=tmp_path, extract=False)
    assert route.calls.last.request.url.params["checkpoint"] == "model_output_path"


def test_our_client_takes_a_whole_answer_to_its_look(hosted, client, tmp_path):
    route = hosted.get(f"{BASE}/v1/files/file-1/content").mock(httpx.Response(200, content=CONTENT))
    assert client.files.download("file-1", to=tmp_path / "pairs.jsonl").read_bytes() == CONTENT
    assert (route.call_count, route.calls.last.request.headers["accept"]) == (1, "application/binary")


REASONS = {  # 3.3: why there is no estimate, and whether there may be one later
    "train_file_not_validated": True,
    "eval_file_not_validated": True,
    "train_file_invalid": False,
    "eval_file_invalid": False,
    "multimodal_dataset": False,
}


@pytest.mark.parametrize("reason", REASONS)
def test_our_client_knows_why_there_is_no_estimate(hosted, client, reason):
    answer = {"estimation_available": False, "unavailable_reason": reason}
    hosted.post(f"{BASE}/v1/fine-tunes/estimate-price").mock(httpx.Response(200, json=answer))
    estimate = client.fine_tuning.estimate_price(config("file-1"))
    assert (estimate.estimated_total_price, estimate.unavailable_reason) == (None, reason)
    assert (estimate.estimation_available, estimate.is_pending) == (False, REASONS[reason])


@pytest.mark.parametrize("old", [False, True])
def test_our_client_reads_an_estimate_with_and_without_its_first_field(hosted, client, old):
    price = {"allowed_to_proceed": True, "estimated_total_price": 1.5, "user_limit": 100.0}
    body = price if old else {"estimation_available": True, **price}
    hosted.post(f"{BASE}/v1/fine-tunes/estimate-price").mock(httpx.Response(200, json=body))
    estimate = client.fine_tuning.estimate_price(config("file-1"))
    assert {name: getattr(estimate, name) for name in price} == price
    assert estimate.is_pending is False


def test_our_client_asks_for_an_estimate_from_a_checkpoint_with_an_empty_model(hosted, client):
    route = hosted.post(f"{BASE}/v1/fine-tunes/estimate-price").mock(httpx.Response(200, json={}))
    client.fine_tuning.estimate_price(from_checkpoint="ft-0:12", training_file="file-1")
    sent = json.loads(route.calls.last.request.content)
    assert (sent["model"], sent["from_checkpoint"], sent["validation_file"]) == ("", "ft-0:12", "")
    assert sent["training_type"] is None


@pytest.mark.parametrize("split", ["train", "eval"])
def test_our_client_reads_every_metric(split):
    keys = METRICS | (OF_TRAINING_ALONE if split == "train" else {})
    values = {f"{split}/{key}": float(number) for number, key in enumerate(keys, start=1)}
    (row,) = metric_rows({"timestamp": 1_779_196_197_564_587_000, "train/global_step": 5, "train/epoch": 0.25} | values)
    assert (row.split, row.step, row.epoch) == (split, 5, 0.25)
    assert {key: getattr(row, name) for key, name in keys.items()} == {
        key: float(number) for number, key in enumerate(keys, start=1)
    }


def test_our_client_knows_the_final_statuses():
    assert frozenset({"completed", "error", "user_error", "cancelled"}) == FINAL


# the local server


@dataclass(frozen=True)
class Server:
    """A local server, asked with nothing of ours, and what it holds."""

    http: httpx.Client
    ids: dict[str, str]

    def ask(self, method: str, path: str, **sent: Any) -> httpx.Response:
        """Return the answer to a request in which names stand for ids."""
        return self.http.request(method, self.filled(path), **json.loads(self.filled(json.dumps(sent))))

    def filled(self, text: str) -> str:
        """Return a text with the ids that its names stand for."""
        for name, value in self.ids.items():
            text = text.replace(name, value)
        return text


def send(http: httpx.Client, content: bytes) -> str:
    """Upload as the official client does, and return the id once the file has been read."""
    fields = {"purpose": "fine-tune", "file_name": "pref.jsonl", "file_type": "jsonl"}
    form = {name: (None, value) for name, value in (fields | {"checksum": hashlib.sha256(content).hexdigest()}).items()}
    opened = http.post("/v1/files", files=form)
    assert (opened.status_code, opened.content) == (302, b"")
    assert opened.headers["location"].startswith(("http://", "https://"))
    put = httpx.put(opened.headers["location"], content=content)
    assert put.status_code == 200
    file_id = opened.headers["x-together-file-id"]
    done = http.post(f"/v1/files/{file_id}/preprocess", headers={"content-type": "application/json"})
    assert done.status_code == 200
    fits(done.json(), FILE)
    poll(http, f"/v1/files/{file_id}", "processing_status", {"COMPLETED"})
    return str(file_id)


def poll(http: httpx.Client, path: str, name: str, ends: set[str]) -> dict[str, Any]:
    """Return an object once one of its fields has come to an end; look often, and not for ever."""
    pause, found = threading.Event(), dict[str, Any]()
    for _ in range(2000):
        found = http.get(path).json()
        if found[name] in ends:
            return found
        pause.wait(0.01)
    pytest.fail(f"{path}: {name} is still {found[name]}")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Yield a local server with a completed job, a waiting job and an unused file."""
    with pt.LocalServer() as running:
        headers = {"authorization": f"Bearer {running.api_key}", "accept": "application/json"}
        with httpx.Client(base_url=running.url, headers=headers) as http:
            file_id = send(http, CONTENT)
            body = json.loads(json.dumps(CREATE).replace("file-known", file_id))
            job_id = http.post("/v1/fine-tunes", json=body | {"validation_file": file_id, "n_evals": 2}).json()["id"]
            poll(http, f"/v1/fine-tunes/{job_id}", "status", {"completed"})
            yield Server(http, {"file-known": file_id, "ft-done": job_id})


@pytest.fixture
def held(server: Server) -> Server:
    """Return the server with a file and a job that may be taken away."""
    unused = send(server.http, CONTENT + b"\n" * (1 + len(server.http.get("/v1/files").json()["data"])))
    body = json.loads(server.filled(json.dumps(CREATE))) | {"n_epochs": 20, "batch_size": 1}
    waiting = server.http.post("/v1/fine-tunes", json=body).json()["id"]
    return Server(server.http, server.ids | {"file-unused": unused, "ft-waiting": waiting})


def fits(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Fail unless every expected field is there with its type; more fields are allowed."""
    for name, kind in expected.items():
        assert name in found, name
        if isinstance(kind, dict):
            fits(found[name], kind)
            continue
        assert isinstance(found[name], kind), (name, found[name])
        assert kind is bool or not isinstance(found[name], bool), name


@pytest.mark.slow
@pytest.mark.parametrize("fact", FACTS, ids=str)
def test_the_server_answers_what_the_official_client_reads(held, fact):
    sent: dict[str, Any] = {"params": fact.query} | ({"json": fact.body} if fact.body else {})
    answer = held.ask(fact.method, fact.path, **sent)
    assert answer.status_code == 200
    fits(answer.json(), fact.reply)
    if fact.items is not None:
        (items,) = (value for value in answer.json().values() if isinstance(value, list))
        assert items
        for item in items:
            fits(item, fact.items)


@pytest.mark.slow
def test_the_server_shows_a_job_as_it_was_created(held):
    created = held.ask("POST", "/v1/fine-tunes", json=CREATE).json()
    assert {name: created[name] for name in CREATE} == json.loads(held.filled(json.dumps(CREATE)))


@pytest.mark.slow
def test_the_server_refuses_in_the_envelope(server):
    asked = [
        (404, server.ask("GET", "/v1/fine-tunes/ft-nope")),
        (404, server.ask("GET", "/v1/files/file-nope")),
        (404, server.ask("GET", "/v1/finetune/download", params={"ft_id": "ft-nope"})),
        (400, server.ask("POST", "/v1/fine-tunes", json={})),
        (400, server.ask("POST", "/v1/fine-tunes/ft-done/cancel")),
        (401, server.ask("GET", "/v1/files", headers={"authorization": "Bearer nobody"})),
    ]
    for status, answer in asked:
        assert answer.status_code == status
        fits(answer.json()["error"], {"message": TEXT, "type": TEXT, "param": (str, type(None))})


@pytest.mark.slow
def test_the_server_names_the_file_of_a_duplicate_and_wants_no_second_try(server):
    fields = {"purpose": "fine-tune", "file_name": "again.jsonl", "file_type": "jsonl", "checksum": SHA256}
    answer = server.http.post("/v1/files", files={name: (None, value) for name, value in fields.items()})
    assert (answer.status_code, answer.headers["x-should-retry"]) == (409, "false")
    assert answer.json()["file_id"] == server.ids["file-known"]
    fits(answer.json()["error"], {"message": TEXT, "type": TEXT})


@pytest.mark.slow
def test_the_server_writes_every_metric_training_before_evaluation(server):
    rows = server.ask("GET", "/v1/fine-tunes/ft-done/metrics").json()["metrics"]
    order = [(row["train/global_step"], "eval/loss" in row) for row in rows]
    assert order == [(1, False), (2, False), (2, True), (3, False), (4, False), (4, True)]
    for row in rows:
        split = "eval" if "eval/loss" in row else "train"
        keys = METRICS if split == "eval" else METRICS | OF_TRAINING_ALONE
        fits(row, dict.fromkeys([f"{split}/{key}" for key in keys], NUMBER))


@pytest.mark.slow
def test_the_servers_events_are_known_ones_with_times_that_the_official_client_reads(server):
    events = server.ask("GET", "/v1/fine-tunes/ft-done/events").json()["data"]
    assert {event["type"].lower() for event in events} <= EVENT_TYPES
    assert [event["type"] for event in (*events[:2], events[-1])] == [
        "job_pending",
        "job_start",
        "job_complete",
    ]
    for event in events:
        seconds, _, fraction = event["created_at"].removesuffix("Z").partition(".")
        assert (len(seconds), len(fraction) <= 6, event["created_at"][-1]) == (19, True, "Z")


@pytest.mark.slow
def test_the_server_lets_a_download_be_looked_at_then_taken_then_resumed(server):
    asked = {"params": {"ft_id": "ft-done"}}
    look = server.ask("GET", "/v1/finetune/download", headers={"range": "bytes=0-1"}, **asked)
    unit, _, total = look.headers["content-range"].partition("/")
    assert (look.status_code, unit, len(look.content)) == (206, "bytes 0-1", 2)
    whole = server.ask("GET", "/v1/finetune/download", **asked)
    assert (whole.status_code, len(whole.content)) == (200, int(total))
    rest = server.ask("GET", "/v1/finetune/download", headers={"range": "bytes=100-"}, **asked)
    assert (rest.status_code, rest.content) == (206, whole.content[100:])
    step = server.ask("GET", "/v1/finetune/download", params={"ft_id": "ft-done", "checkpoint_step": 2})
    assert step.status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["/v1", "/v1/v1"])
def test_the_server_answers_under_both_prefixes(server, prefix):
    assert server.ask("GET", f"{prefix}/files/file-known").json() == server.ask("GET", "/v1/files/file-known").json()


@pytest.mark.slow
def test_the_server_says_who_one_is(server):
    fits(
        server.ask("GET", "/v3/whoami").json(),
        {
            "type": TEXT,
            "api_key": {"id": TEXT},
            "organization": {"id": TEXT, "name": TEXT},
            "project": {"id": TEXT, "name": TEXT, "slug": TEXT},
        },
    )


# one flow, both sides


@pytest.mark.slow
def test_our_client_and_the_server_meet_in_the_middle(server, tmp_path):
    base, key = str(server.http.base_url), server.http.headers["authorization"].removeprefix("Bearer ")
    with pt.Client(base_url=base, api_key=key) as client:
        rows = client.fine_tuning.list_metrics(server.ids["ft-done"])
        assert [(row.split, row.step) for row in rows] == [
            ("train", 1), ("train", 2), ("eval", 2), ("train", 3), ("train", 4), ("eval", 4),
        ]  # fmt: skip
        assert all(getattr(row, name) is not None for row in rows for name in METRICS.values())
        assert client.fine_tuning.retrieve(server.ids["ft-done"]).is_final
        folder = client.fine_tuning.download(server.ids["ft-done"], to=tmp_path / "adapter")
        assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
        assert client.files.content(server.ids["file-known"]) == CONTENT
