import asyncio
import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preftune.api.config import JobConfig
from preftune.api.models import metric_rows
from preftune.api.nesting import FLAT
from preftune.local import validate
from preftune.local.app import make_app

KEY = "local-test"


@pytest.fixture
def trained(local, store):
    """Return the id of a completed LoRA job with rows, two checkpoints and their archives; nothing was trained."""
    file_id = local.upload([{"text": "abc"}])
    job_id = local.create(training_file=file_id, model="acme/tiny")["id"]
    store.next_job()
    for step in range(1, 7):
        row = {"train/global_step": step, "train/epoch": step / 6, "train/loss": 1 / step}
        store.add_row(job_id, step=step, split="train", row=row, facts={"steps_completed": step})
        if step % 3 == 0:
            row = {"train/global_step": step, "train/epoch": step / 6, "eval/loss": 2 / step}
            store.add_row(job_id, step=step, split="eval", row=row, facts={"evals_completed": step // 3})
    for step, final, suffixes in [(3, False, ["adapter"]), (6, True, ["adapter", "merged"])]:
        for suffix in suffixes:
            path = store.checkpoint_path(job_id, step, f".{suffix}.tar.zst")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(f"{suffix} at {step}".encode())
        store.add_checkpoint(job_id, step=step, final=final, message=f"Saved {step}.")
    store.end_job(job_id, expected=("running",), to="completed", event="job_complete", message="The job is complete.")
    return job_id


def shape(rows):
    return [("train" if "train/loss" in row else "eval", row["train/global_step"]) for row in rows]


def fault(answer):
    """Return status and the facts of an error, after a look at its envelope."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["type"]
    return answer.status_code, error["type"], error["param"]


# key


@pytest.mark.parametrize("key", [None, "", "wrong", "local-test-and-more", "локальный".encode().decode("latin-1")])
@pytest.mark.parametrize("path", ["/v1/files", "/v1/v1/fine-tunes", "/v3/whoami", "/nowhere"])
def test_nobody_enters_without_the_key(local, key, path):
    headers = {} if key is None else {"authorization": f"Bearer {key}".encode("latin-1")}
    assert fault(local.call("GET", path, key=None, headers=headers)) == (401, "authentication_error", None)


def test_whoami_names_the_project(local):
    local_one = {"id": "local", "name": "local"}
    assert local.get("/v3/whoami") == {
        "type": "api_key",
        "api_key": {"id": "local"},
        "organization": local_one,
        "project": local_one | {"slug": "local"},
    }


@pytest.mark.parametrize("prefix", ["/v1", "/v1/v1"])
def test_the_routes_stand_under_v1_once_and_twice(local, prefix):
    assert local.get(f"{prefix}/files") == {"object": "list", "data": []}
    assert local.get(f"{prefix}/fine-tunes") == {"object": "list", "data": []}


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nope", 404), ("PATCH", "/v1/files", 405)])
def test_an_unknown_route_answers_in_the_envelope(local, method, path, status):
    answer = local.call(method, path)
    assert fault(answer)[0] == status
    assert answer.json()["error"]["message"].startswith(f"{method} {path}: ")


# files


def opened(local, **fields):
    fields = {"file_name": "pairs.jsonl"} | fields
    return local.call("POST", "/v1/files", files={name: (None, value) for name, value in fields.items()})


def test_an_upload_begins_with_a_place_and_an_id(local):
    answer = opened(local, purpose="fine-tune", file_type="jsonl", checksum="00")
    file_id = answer.headers["x-together-file-id"]
    assert (answer.status_code, answer.content) == (302, b"")
    assert re.fullmatch(r"file-[0-9a-f-]{36}", file_id)
    assert re.fullmatch(rf"http://local/storage/{file_id}\?token=[\w-]{{32}}", answer.headers["location"])
    assert local.get(f"/v1/files/{file_id}")["processing_status"] == "PENDING"


@pytest.mark.parametrize(
    "sent",
    [
        {"files": {"file_name": (None, "a.jsonl"), "purpose": (None, "eval")}},
        {"data": {"file_name": "a.jsonl", "purpose": "eval"}},
        {"params": {"file_name": "a.jsonl", "purpose": "eval"}},
        {"params": {"file_name": "b.jsonl"}, "data": {"file_name": "a.jsonl", "purpose": "eval"}},
        {"files": {"file": ("z.csv", b"x"), "file_name": (None, "a.jsonl"), "purpose": (None, "eval")}},
    ],
    ids=["multipart", "urlencoded", "query", "query and urlencoded", "with a file part"],
)
def test_the_fields_of_an_upload_may_come_in_any_form(local, sent):
    answer = local.call("POST", "/v1/files", **sent)
    record = local.get(f"/v1/files/{answer.headers['x-together-file-id']}")
    assert (answer.status_code, record["filename"], record["purpose"], record["FileType"]) == (
        302,
        "a.jsonl",
        "eval",
        "jsonl",
    )


def test_purpose_and_type_have_defaults(local):
    plain = local.get(f"/v1/files/{opened(local, file_name='pairs').headers['x-together-file-id']}")
    assert (plain["purpose"], plain["FileType"]) == ("fine-tune", "jsonl")
    table = local.get(f"/v1/files/{opened(local, file_name='pairs.csv').headers['x-together-file-id']}")
    assert table["FileType"] == "csv"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"file_name": ""}, "file_name"),
        ({"file_name": "/"}, "file_name"),
        ({"file_name": "a/.."}, "file_name"),
        ({"file_type": "exe"}, "file_type"),
        ({"file_name": "a.exe"}, "file_type"),
    ],
)
def test_an_upload_without_a_name_or_of_another_type_is_refused(local, fields, param):
    assert fault(opened(local, **fields)) == (400, "invalid_request_error", param)


@pytest.mark.parametrize(
    "name", ["../../etc/pairs.jsonl", "/etc/pairs.jsonl", "..\\..\\pairs.jsonl", "C:\\x\\pairs.jsonl"]
)
def test_an_uploaded_name_cannot_escape(local, store, name):
    file_id = local.upload([{"text": "abc"}], file_name=name)
    assert local.get(f"/v1/files/{file_id}")["filename"] == "pairs.jsonl"
    assert [
        path.name for path in store.folder.rglob("*") if path.is_file() and not path.name.startswith("preftune.db")
    ] == [file_id]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data; boundary=xx", b"garbage"),
        ("multipart/form-data", b"garbage"),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % i for i in range(30))),
        ("text/plain", b"hello"),
    ],
)
def test_a_form_that_does_not_read_is_refused(local, kind, body):
    assert fault(local.call("POST", "/v1/files", content=body, headers={"content-type": kind}))[0] == 400


def test_storage_takes_whole_bytes_without_a_key_and_answers_200(local):
    location = opened(local, checksum=hashlib.sha256(b"abc").hexdigest()).headers["location"]
    answer = local.call("PUT", location, key=None, content=b"abc")
    assert (answer.status_code, answer.content) == (200, b"")
    assert re.fullmatch(r'"[0-9a-f]{32}"', answer.headers["etag"])


@pytest.mark.parametrize("token", ["", "?token=", "?token=wrong", "?token=%C3%A9", "?token=%00"])
def test_storage_needs_the_presigned_token(local, store, token):
    location = opened(local).headers["location"].partition("?")[0]
    assert fault(local.call("PUT", location + token, content=b"abc"))[0] == 403
    assert list((store.folder / "files").iterdir()) == []


def test_storage_of_no_file_is_refused(local):
    assert fault(local.call("PUT", "/storage/file-9?token=t", content=b"abc"))[0] == 403


def test_bytes_with_another_digest_are_refused_and_leave_nothing(local, store):
    location = opened(local, checksum=hashlib.sha256(b"abc").hexdigest()).headers["location"]
    answer = local.call("PUT", location, key=None, content=b"ab")
    assert fault(answer)[0] == 400
    assert "the 2 bytes that arrived do not have the announced SHA-256" in answer.text
    assert list((store.folder / "files").iterdir()) == []


def test_a_checksum_may_be_written_in_capitals(local):
    location = opened(local, checksum=hashlib.sha256(b"abc").hexdigest().upper()).headers["location"]
    assert local.call("PUT", location, key=None, content=b"abc").status_code == 200


def test_an_upload_may_be_put_again_before_it_is_complete(local):
    location = opened(local).headers["location"]
    file_id = location.partition("?")[0].rpartition("/")[2]
    for content in (b"half", b"whole"):
        assert local.call("PUT", location, key=None, content=content).status_code == 200
    assert local.call("GET", f"/v1/files/{file_id}/content").content == b"whole"


def test_preprocess_answers_the_seven_typed_fields_and_queues_the_file(local):
    answer = opened(local, purpose="fine-tune")
    local.call("PUT", answer.headers["location"], key=None, content=b'{"text": "a"}')
    done = local.call("POST", f"/v1/files/{answer.headers['x-together-file-id']}/preprocess")
    fields = ("id", "object", "created_at", "filename", "bytes", "purpose", "FileType")
    assert done.status_code == 200
    assert [type(done.json()[name]) for name in fields] == [str, str, int, str, int, str, str]
    assert (done.json()["bytes"], done.json()["object"]) == (13, "file")
    assert done.json()["processing_status"] in ("QUEUED", "RUNNING", "COMPLETED")


def test_preprocess_before_the_bytes_is_refused(local):
    file_id = opened(local).headers["x-together-file-id"]
    answer = local.call("POST", f"/v1/files/{file_id}/preprocess")
    assert fault(answer)[0] == 400
    assert answer.json()["error"]["message"] == f"file {file_id} has no content yet; upload it first"


def test_a_complete_file_takes_no_other_bytes(local):
    answer = opened(local)
    local.call("PUT", answer.headers["location"], key=None, content=b'{"text": "a"}')
    local.call("POST", f"/v1/files/{answer.headers['x-together-file-id']}/preprocess")
    assert fault(local.call("PUT", answer.headers["location"], key=None, content=b"other"))[0] == 403


def test_a_file_of_another_purpose_is_complete_unread(local):
    file_id = local.upload(b"a,b\n1,2\n", purpose="eval", file_name="table.csv", file_type="csv")
    file = local.get(f"/v1/files/{file_id}")
    assert (file["processing_status"], file["purpose"], "validation_report" in file) == ("COMPLETED", "eval", False)


def test_a_failure_of_the_server_keeps_the_envelope(local, monkeypatch, caplog):
    monkeypatch.setattr(local.store, "jobs", lambda: 1 / 0)
    answer = local.call("GET", "/v1/fine-tunes")
    message = "the local server failed: ZeroDivisionError; its log says more"
    assert (answer.status_code, answer.json()["error"]["message"]) == (500, message)
    assert "GET /v1/fine-tunes failed" in caplog.text


def test_preprocess_again_changes_nothing(local):
    file_id = local.upload([{"text": "a"}])
    before = local.get(f"/v1/files/{file_id}")
    assert local.call("POST", f"/v1/files/{file_id}/preprocess").json() == before


@pytest.mark.parametrize(
    ("content", "status", "report"),
    [
        (b'{"text": "a"}\n', "COMPLETED", {"valid": True, "dataset_format": "general", "nlines": 1}),
        (
            b'{"text": 5}\n',
            "INVALID_FORMAT",
            {
                "valid": False,
                "dataset_format": "general",
                "error": "Line 1: text is a number; it must be text",
                "error_type": "INVALID_FORMAT",
            },
        ),
    ],
)
def test_a_file_is_read_and_its_report_shown(local, content, status, report):
    file_id = local.upload(content)
    shown = local.get(f"/v1/files/{file_id}")
    assert (shown["processing_status"], shown["Processed"]) == (status, status == "COMPLETED")
    assert shown["validation_report"] == report | {"file_id": file_id}


def test_a_file_that_cannot_be_read_at_all_is_failed_with_the_reason(local, monkeypatch):
    def broken(path, name):
        raise OSError("the disk is gone")

    monkeypatch.setattr(validate, "report", broken)
    shown = local.get(f"/v1/files/{local.upload([{'text': 'a'}])}")
    assert (shown["processing_status"], shown["validation_report"]["error"]) == ("FAILED", "the disk is gone")


def test_a_file_deleted_before_it_is_read_is_passed_over(local, store):
    answer = opened(local)
    file_id = answer.headers["x-together-file-id"]
    local.app.router.routes[1].app.routes[0].endpoint.__self__._validate("file-9")
    assert store.file(file_id)["status"] == "PENDING"


def test_files_that_the_last_server_did_not_finish_are_read(local, store, eventually):
    ids = [local.upload([{"text": f"{i}"}]) for i in range(3)]
    for file_id, status in zip(ids, ("QUEUED", "RUNNING", "COMPLETED"), strict=True):
        store.set_file(file_id, status=status, report=None)

    async def life():
        app = make_app(store, api_key=KEY, wake=lambda: None)
        async with app.router.lifespan_context(app):
            await asyncio.to_thread(eventually, lambda: all(store.file(i)["status"] == "COMPLETED" for i in ids))

    asyncio.run(life())
    assert [(store.file(file_id)["report"] or {}).get("nlines") for file_id in ids] == [1, 1, None]


def test_the_application_ends_after_the_file_that_is_being_read(store, monkeypatch):
    seen = []
    monkeypatch.setattr(validate, "report", lambda path, name: seen.append(name) or {"valid": True})
    record = {"id": "file-1", "created_at": 1, "filename": "f", "purpose": "p", "file_type": "jsonl"}
    store.add_file(record | {"checksum": "", "token": "t"})
    store.set_file("file-1", status="QUEUED")

    async def life():
        app = make_app(store, api_key=KEY, wake=lambda: None)
        async with app.router.lifespan_context(app):
            pass

    asyncio.run(life())
    assert (len(seen), store.file("file-1")["status"]) in [(0, "QUEUED"), (1, "COMPLETED")]


def test_the_same_content_is_answered_with_the_file_that_holds_it(local):
    content = b'{"text": "a"}\n'
    known = local.upload(content)
    answer = opened(local, file_name="other.jsonl", checksum=hashlib.sha256(content).hexdigest())
    assert (answer.status_code, answer.json()["file_id"], answer.headers["x-should-retry"]) == (409, known, "false")
    assert answer.json()["error"] == {
        "message": "a file with this content already exists",
        "type": "conflict_error",
        "param": None,
        "code": "file_exists",
    }


def test_an_unfinished_upload_is_no_duplicate(local):
    checksum = hashlib.sha256(b"abc").hexdigest()
    first, second = (opened(local, checksum=checksum) for _ in range(2))
    assert (first.status_code, second.status_code) == (302, 302)
    assert first.headers["x-together-file-id"] != second.headers["x-together-file-id"]


def test_content_comes_back_byte_for_byte_with_its_length(local):
    content = b'{"text": "\xc3\xa9"}\r\n\n'
    answer = local.call("GET", f"/v1/files/{local.upload(content)}/content")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, content, str(len(content)))
    assert answer.headers["content-type"] == "application/octet-stream"


def test_content_before_the_upload_is_not_found(local):
    file_id = opened(local).headers["x-together-file-id"]
    assert fault(local.call("GET", f"/v1/files/{file_id}/content")) == (404, "not_found_error", None)


def test_files_are_listed_as_they_are_retrieved_and_gone_when_deleted(local):
    first, second = (local.upload([{"text": text}]) for text in "ab")
    assert local.get("/v1/files") == {"object": "list", "data": [local.get(f"/v1/files/{i}") for i in (second, first)]}
    gone = local.call("DELETE", f"/v1/files/{first}")
    assert (gone.status_code, gone.json()) == (200, {"id": first, "object": "file", "deleted": True})
    assert [one["id"] for one in local.get("/v1/files")["data"]] == [second]
    assert fault(local.call("GET", f"/v1/files/{first}")) == (404, "not_found_error", "id")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/files/file-9"),
        ("DELETE", "/v1/files/file-9"),
        ("GET", "/v1/files/file-9/content"),
        ("POST", "/v1/files/file-9/preprocess"),
        ("GET", "/v1/fine-tunes/ft-9"),
        ("DELETE", "/v1/fine-tunes/ft-9"),
        ("POST", "/v1/fine-tunes/ft-9/cancel"),
        ("GET", "/v1/fine-tunes/ft-9/events"),
        ("GET", "/v1/fine-tunes/ft-9/checkpoints"),
        ("GET", "/v1/fine-tunes/ft-9/metrics"),
    ],
)
def test_what_does_not_exist_is_not_found(local, method, path):
    assert fault(local.call(method, path)) == (404, "not_found_error", "id")


# models and prices


def test_limits_are_answered_for_any_name_of_a_model_or_job(local):
    answer = local.get("/v1/fine-tunes/models/limits", model_name="acme/any:5")
    assert (answer["model_name"], answer["lora_training"]["default_rank"]) == ("acme/any:5", 16)
    assert fault(local.call("GET", "/v1/fine-tunes/models/limits")) == (400, "invalid_request_error", "model_name")


def test_supported_models_are_names(local):
    models = local.get("/v1/fine-tunes/models/supported")["models"]
    assert "Qwen/Qwen3-8B" in models


def estimate(local, **body):
    return local.call("POST", "/v1/fine-tunes/estimate-price", json=body)


def test_a_price_counts_the_bytes_of_epochs_and_evaluations(local):
    train, held_out = local.upload(b'{"text": "abcd"}'), local.upload(b'{"text": "ab"}')
    shown = {
        "estimation_available": True,
        "allowed_to_proceed": True,
        "estimated_total_price": 0.0,
        "estimated_train_token_count": 16,
        "estimated_eval_token_count": 0,
        "user_limit": 1e9,
    }
    unset = {"method": "dpo", "dpo_beta": 0, "rpo_alpha": 0, "simpo_gamma": 0}
    cli = {"model": "", "from_checkpoint": "", "validation_file": None, "training_type": None, "training_method": unset}
    assert estimate(local, training_file=train).json() == shown
    assert estimate(local, training_file=train, n_epochs=0, n_evals=3, **cli).json() == shown
    both = estimate(local, training_file=train, validation_file=held_out, n_epochs=2.0, n_evals=3).json()
    assert both == shown | {"estimated_train_token_count": 32, "estimated_eval_token_count": 42}
    assert estimate(local, training_file=train, validation_file=held_out).json() == shown


@pytest.mark.parametrize(
    ("status", "reason"),
    [("QUEUED", "file_not_validated"), ("FAILED", "file_invalid"), ("INVALID_FORMAT", "file_invalid")],
)
@pytest.mark.parametrize("split", ["train", "eval"])
def test_a_price_is_not_known_before_the_files_are_validated(local, store, status, reason, split):
    files = {"train": local.upload(b'{"text": "abcd"}'), "eval": local.upload(b'{"text": "ab"}')}
    store.set_file(files[split], status=status)
    answer = estimate(local, training_file=files["train"], validation_file=files["eval"])
    assert answer.json() == {"estimation_available": False, "unavailable_reason": f"{split}_{reason}"}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"training_file": "file-9"}, "training_file"),
        ({"training_file": None}, "training_file"),
        ({"training_file": {}}, "training_file"),
        ({"validation_file": "file-9"}, "validation_file"),
        ({"n_epochs": "many"}, "n_epochs"),
        ({"n_epochs": [1]}, "n_epochs"),
        ({"n_evals": 1.5, "validation_file": True}, "validation_file"),
    ],
)
def test_a_price_of_nonsense_is_refused(local, change, param):
    body = {"training_file": local.upload(b'{"text": "abcd"}')} | change
    assert fault(estimate(local, **body)) == (400, "invalid_request_error", param)


# jobs


def test_a_created_job_shows_what_was_asked_for_and_waits(local):
    file_id = local.upload([{"text": "abc"}])
    job = local.create(training_file=file_id, model="acme/tiny", suffix="mine", n_epochs=2)
    times = {name: job.pop(name) for name in ("created_at", "updated_at")}
    tail = job["id"][3:11]
    assert re.fullmatch(r"ft-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", job["id"])
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time) for time in times.values())
    assert job == {
        "id": job["id"],
        "status": "pending",
        "started_at": None,
        "user_id": "local",
        "owner_address": "local",
        "total_price": 0,
        "token_count": 0,
        "model": "acme/tiny",
        "model_output_name": f"local/tiny-mine-{tail}",
        "training_file": file_id,
        "validation_file": "",
        "from_checkpoint": "",
        "suffix": "mine",
        "packing": True,
        "n_epochs": 2,
        "n_evals": 0,
        "n_checkpoints": 1,
        "batch_size": 16,
        "learning_rate": 1e-5,
        "lr_scheduler": {"lr_scheduler_type": "cosine", "lr_scheduler_args": {"min_lr_ratio": 0.0, "num_cycles": 0.5}},
        "warmup_ratio": 0.0,
        "max_grad_norm": 1.0,
        "weight_decay": 0.0,
        "random_seed": 42,
        "training_type": {
            "type": "Lora",
            "lora_r": 16,
            "lora_alpha": 32,
            "lora_dropout": 0.0,
            "lora_trainable_modules": "all-linear",
        },
        "training_method": {"method": "sft", "train_on_inputs": "auto"},
        "early_stopping_enabled": False,
        "early_stopped": False,
        "early_stopping_best_step": None,
        "early_stopping_best_metric": None,
        "wandb_project_name": "",
        "wandb_name": "",
        "events": [],
        "progress": {"estimate_available": False, "seconds_remaining": 0},
    }
    assert local.woken == 1


def test_the_official_clients_body_is_taken_as_it_is(local):
    file_id = local.upload([{"text": "abc"}])
    body = {  # trace 14 of the contract
        "training_file": file_id, "validation_file": "", "packing": True, "model": "local/tiny", "n_epochs": 2,
        "learning_rate": 0.0001, "warmup_ratio": 0.0, "max_grad_norm": 1.0, "weight_decay": 0.0, "n_checkpoints": 2,
        "lr_scheduler": {"lr_scheduler_type": "cosine", "lr_scheduler_args": {"min_lr_ratio": 0.0, "num_cycles": 0.5}},
        "n_evals": 0, "max_seq_length": 512, "batch_size": 2, "suffix": "demo", "random_seed": 7,
        "early_stopping_enabled": False,
        "training_type": {"lora_r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "lora_trainable_modules": "all-linear",
                          "type": "Lora"},
        "training_method": {"method": "dpo", "dpo_beta": 0.2, "dpo_normalize_logratios_by_length": True,
                            "dpo_reference_free": True, "simpo_gamma": 0.5},
    }  # fmt: skip
    job = local.create(**body)
    assert {name: job[name] for name in body} == body


def test_retrieve_adds_events_and_progress(local, trained):
    shown = local.get(f"/v1/fine-tunes/{trained}")
    (listed,) = local.get("/v1/fine-tunes")["data"]
    events = local.get(f"/v1/fine-tunes/{trained}/events")["data"]
    assert shown == listed | {
        "job_id": trained,
        "model_output_path": f"local://{trained}",
        "trainingfile_numlines": 0,
        "trainingfile_size": 0,
        "param_count": 0,
        "total_steps": 0,
        "steps_completed": 6,
        "evals_completed": 2,
        "epochs_completed": 0,
        "eval_steps": 0,
        "queue_depth": 0,
        "wandb_url": "",
        "events": events,
    }
    assert shown["started_at"].endswith("Z")


def test_jobs_are_listed_newest_first(local):
    file_id = local.upload([{"text": "abc"}])
    ids = [local.create(training_file=file_id)["id"] for _ in range(3)]
    assert [job["id"] for job in local.get("/v1/fine-tunes")["data"]] == ids[::-1]


def test_an_idempotency_key_creates_one_job(local):
    body = {"model": "m", "training_file": local.upload([{"text": "abc"}])}
    keys = ["a", "a", "b", "", ""]
    sent = [local.call("POST", "/v1/fine-tunes", json=body, headers={"idempotency-key": key}) for key in keys]
    ids = [answer.json()["id"] for answer in sent]
    assert (ids[0] == ids[1], len(set(ids)), len(local.get("/v1/fine-tunes")["data"])) == (True, 4, 4)


@pytest.mark.parametrize("name", ["wandb_key", "wandb_api_key", "hf_api_token"])
def test_no_secret_comes_back_or_is_kept(local, store, name):
    file_id = local.upload([{"text": "abc"}])
    job = local.create(training_file=file_id, **{name: "s3cr3t"})
    shown = [json.dumps(job), json.dumps(local.get(f"/v1/fine-tunes/{job['id']}")), json.dumps(store.job(job["id"]))]
    refused = local.call("POST", "/v1/fine-tunes", json={"training_file": file_id, name: "s3cr3t", "n_epochs": -1})
    assert "s3cr3t" not in "".join([*shown, refused.text])


@pytest.mark.parametrize("address", ["{id}", "{id}:3", "{id}:6", "{name}", "{name}:3"])
def test_a_job_begins_from_a_checkpoint_by_any_of_its_names(local, trained, address):
    parent = local.get(f"/v1/fine-tunes/{trained}")
    address = address.format(id=trained, name=parent["model_output_name"])
    job = local.create(model="", from_checkpoint=address, training_file=parent["training_file"])
    assert (job["from_checkpoint"], job["model"]) == (address, "acme/tiny")
    assert re.fullmatch(rf"local/tiny-{job['id'][3:11]}", job["model_output_name"])


@pytest.mark.parametrize("address", ["ft-9", "{id}:4", "{id}:", "{id}:-6", "{id}:²", ":6"])
def test_a_job_from_an_unknown_checkpoint_is_refused(local, trained, address):
    body = {"training_file": local.get("/v1/files")["data"][0]["id"], "from_checkpoint": address.format(id=trained)}
    answer = local.call("POST", "/v1/fine-tunes", json=body)
    assert fault(answer) == (400, "invalid_request_error", "from_checkpoint")


@pytest.mark.parametrize("kind", [{"type": "Full"}, {"type": "Lora", "lora_r": 4}])
def test_a_job_from_a_checkpoint_inherits_the_training_type(local, store, kind):
    file_id = local.upload([{"text": "abc"}])
    parent = local.create(training_file=file_id, training_type=kind)
    store.add_checkpoint(parent["id"], step=1, final=True, message="Saved.")
    child = local.create(model="", from_checkpoint=parent["id"], training_file=file_id)
    assert child["training_type"] == parent["training_type"]


@pytest.mark.parametrize("status", ["pending", "queued"])
def test_a_waiting_job_is_cancelled_at_once(local, store, status):
    job_id = local.create(training_file=local.upload([{"text": "abc"}]))["id"]
    store.move_job(job_id, expected=("pending",), to=status)
    answer = local.call("POST", f"/v1/fine-tunes/{job_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancel_requested")
    ended = local.get(f"/v1/fine-tunes/{job_id}")
    assert (ended["status"], store.next_job()) == ("cancelled", None)
    assert [event["type"] for event in ended["events"]] == ["job_pending", "cancel_requested", "job_stopped"]


def test_a_running_job_is_asked_to_stop(local, store):
    job_id = local.create(training_file=local.upload([{"text": "abc"}]))["id"]
    store.next_job()
    for _ in range(2):  # a repeated request, as after a lost answer, is answered alike
        assert local.call("POST", f"/v1/fine-tunes/{job_id}/cancel").json()["status"] == "cancel_requested"
    assert local.get(f"/v1/fine-tunes/{job_id}")["status"] == "cancel_requested"


@pytest.mark.parametrize("status", ["uploading", "completed", "error", "user_error", "cancelled"])
def test_a_job_that_ends_or_has_ended_cannot_be_cancelled(local, store, status):
    job_id = local.create(training_file=local.upload([{"text": "abc"}]))["id"]
    store.move_job(job_id, expected=("pending",), to=status)
    answer = local.call("POST", f"/v1/fine-tunes/{job_id}/cancel")
    assert fault(answer)[:2] == (400, "invalid_request_error")
    assert answer.json()["error"]["message"] == f"job {job_id} is {status} and cannot be cancelled"
    assert local.get(f"/v1/fine-tunes/{job_id}")["status"] == status


def test_a_deleted_job_is_gone_with_its_checkpoints(local, store, trained):
    folder = store.checkpoint_path(trained, 6).parent
    assert folder.is_dir()
    answer = local.call("DELETE", f"/v1/fine-tunes/{trained}", params={"force": "false"})
    assert (answer.status_code, answer.json()) == (200, {"message": "Fine-tune job deleted successfully"})
    assert (local.get("/v1/fine-tunes")["data"], folder.exists()) == ([], False)


def test_events_and_checkpoints_are_lists_of_objects(local, trained):
    events = local.get(f"/v1/fine-tunes/{trained}/events")
    assert events["object"] == "list"
    assert [(one["object"], one["type"], one["step"]) for one in events["data"]] == [
        ("fine-tune-event", "job_pending", 0),
        ("fine-tune-event", "checkpoint_save", 3),
        ("fine-tune-event", "checkpoint_save", 6),
        ("fine-tune-event", "job_complete", 0),
    ]
    kept = local.get(f"/v1/fine-tunes/{trained}/checkpoints")["data"]
    assert [(one["step"], one["checkpoint_type"], one["checkpoint"]) for one in kept] == [
        (6, "Final Merged", "model"),
        (6, "Final Adapter", "adapter"),
        (3, "Intermediate (step 3)", "adapter"),
    ]


# metrics

ALL = [("train", 1), ("train", 2), ("train", 3), ("eval", 3), ("train", 4), ("train", 5), ("train", 6), ("eval", 6)]


def test_a_job_without_metrics_has_an_empty_list(local):
    job_id = local.create(training_file=local.upload([{"text": "abc"}]))["id"]
    assert local.get(f"/v1/fine-tunes/{job_id}/metrics") == {"metrics": []}
    assert local.get(f"/v1/fine-tunes/{job_id}/metrics", resolution=5) == {"metrics": []}


def test_rows_are_flat_numbers_with_step_epoch_and_time_in_each(local, trained):
    rows = local.get(f"/v1/fine-tunes/{trained}/metrics")["metrics"]
    assert shape(rows) == ALL
    assert all({"timestamp", "train/global_step", "train/epoch"} < set(row) for row in rows)
    assert all(isinstance(value, int | float) for row in rows for value in row.values())
    assert all(abs(row["timestamp"] / 1e9 - datetime.now(UTC).timestamp()) < 600 for row in rows)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"global_step_from": 3, "global_step_to": 4}, ALL[2:5]),
        ({"global_step_from": "6.0"}, ALL[6:]),
        ({"global_step_to": 1.0}, ALL[:1]),
        ({"global_step_from": "", "global_step_to": "", "resolution": "", "logged_at_from": ""}, ALL),
        ({"global_step_from": 0}, ALL),
        ({"global_step_from": 7}, []),
        ({"resolution": 100}, ALL),
        ({"resolution": 6}, ALL),
        ({"resolution": 3}, [ALL[0], ALL[2], ALL[3], ALL[5], ALL[7]]),
        ({"resolution": 1}, [ALL[0], ALL[3], ALL[7]]),
        ({"resolution": 1, "global_step_from": 4}, [ALL[4], ALL[7]]),
    ],
)
@pytest.mark.parametrize("place", ["params", "json"])
def test_rows_are_chosen_by_step_and_thinned_for_charts(local, trained, asked, expected, place):
    answer = local.call("GET", f"/v1/fine-tunes/{trained}/metrics", **{place: asked})
    assert (answer.status_code, shape(answer.json()["metrics"])) == (200, expected)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"global_step_from": "six"}, "global_step_from"),
        ({"global_step_from": 1.5}, "global_step_from"),
        ({"global_step_to": "nan"}, "global_step_to"),
        ({"global_step_to": "1e400"}, "global_step_to"),
        ({"global_step_to": "1e300"}, "global_step_to"),
        ({"resolution": 0}, "resolution"),
        ({"resolution": -3}, "resolution"),
        ({"logged_at_from": "yesterday"}, "logged_at_from"),
        ({"logged_at_to": "2026-13-01T00:00:00Z"}, "logged_at_to"),
    ],
)
def test_a_bound_that_does_not_read_is_refused(local, trained, asked, param):
    answer = local.call("GET", f"/v1/fine-tunes/{trained}/metrics", params=asked)
    assert fault(answer) == (400, "invalid_request_error", param)


def written(zone):
    return {
        "naive": lambda time: time.astimezone(UTC).replace(tzinfo=None).isoformat(),
        "Z": lambda time: time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "offset": lambda time: (time + timedelta(0)).astimezone(datetime.strptime("+0530", "%z").tzinfo).isoformat(),
    }[zone]


@pytest.mark.parametrize("zone", ["naive", "Z", "offset"])
def test_times_are_inclusive_to_the_microsecond_and_naive_ones_are_utc(local, trained, zone):
    rows = local.get(f"/v1/fine-tunes/{trained}/metrics")["metrics"]
    write = written(zone)
    for row in rows:
        at = metric_rows(row)[0].logged_at  # as our client reads it
        asked = {"logged_at_from": write(at), "logged_at_to": write(at)}
        assert row in local.get(f"/v1/fine-tunes/{trained}/metrics", **asked)["metrics"]
    first, last = (metric_rows(row)[0].logged_at for row in (rows[0], rows[-1]))
    instant = timedelta(microseconds=1)
    assert local.get(f"/v1/fine-tunes/{trained}/metrics", logged_at_to=write(first - instant))["metrics"] == []
    assert local.get(f"/v1/fine-tunes/{trained}/metrics", logged_at_from=write(last + instant))["metrics"] == []


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_times_at_the_ends_of_the_calendar_are_read(local, trained, at):
    assert local.call("GET", f"/v1/fine-tunes/{trained}/metrics", params={"logged_at_from": at}).status_code == 200


# download


@pytest.mark.parametrize(
    ("asked", "content"),
    [
        ({}, b"merged at 6"),
        ({"checkpoint": ""}, b"merged at 6"),
        ({"checkpoint": "merged"}, b"merged at 6"),
        ({"checkpoint": "adapter"}, b"adapter at 6"),
        ({"checkpoint": "model_output_path"}, b"merged at 6"),
        ({"checkpoint_step": "0"}, b"merged at 6"),
        ({"checkpoint_step": "6"}, b"merged at 6"),
        ({"checkpoint_step": "3"}, b"adapter at 3"),
        ({"checkpoint_step": "3.0", "checkpoint": "adapter"}, b"adapter at 3"),
        ({"ft_id": "{id}:3"}, b"adapter at 3"),
        ({"ft_id": "{name}"}, b"merged at 6"),
    ],
)
def test_a_checkpoint_is_downloaded_by_its_kind_and_step(local, trained, asked, content):
    name = local.get(f"/v1/fine-tunes/{trained}")["model_output_name"]
    asked = {"ft_id": "{id}"} | asked
    asked["ft_id"] = asked["ft_id"].format(id=trained, name=name)
    answer = local.call("GET", "/v1/finetune/download", params=asked)
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["content-disposition"] == f'attachment; filename="{name.replace("/", "-")}.tar.zst"'


@pytest.mark.parametrize(
    ("range_", "content", "total"),
    [("bytes=0-1", b"me", "bytes 0-1/11"), ("bytes=7-", b"at 6", "bytes 7-10/11")],
)
def test_a_download_comes_in_ranges(local, trained, range_, content, total):
    answer = local.call("GET", "/v1/finetune/download", params={"ft_id": trained}, headers={"range": range_})
    assert (answer.status_code, answer.content, answer.headers["content-range"]) == (206, content, total)


@pytest.mark.parametrize(
    ("asked", "status", "param"),
    [
        ({"ft_id": "ft-9"}, 404, "ft_id"),
        ({"ft_id": ""}, 400, "ft_id"),
        ({"ft_id": "{id}:²"}, 404, "ft_id"),
        ({"checkpoint_step": "4"}, 404, "ft_id"),
        ({"checkpoint_step": "x"}, 400, "checkpoint_step"),
        ({"checkpoint": "tokenizer"}, 400, "checkpoint"),
    ],
)
def test_a_download_of_nothing_is_refused(local, trained, asked, status, param):
    asked = {"ft_id": "{id}"} | asked
    asked["ft_id"] = asked["ft_id"].format(id=trained)
    answer = local.call("GET", "/v1/finetune/download", params=asked)
    assert (fault(answer)[0], fault(answer)[2]) == (status, param)


def test_a_job_of_full_training_has_a_model_and_no_adapter(local, store):
    file_id = local.upload([{"text": "abc"}])
    job_id = local.create(training_file=file_id, training_type={"type": "Full"})["id"]
    for step, final in [(1, False), (2, True)]:
        path = store.checkpoint_path(job_id, step, ".merged.tar.zst")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(f"model at {step}".encode())
        store.add_checkpoint(job_id, step=step, final=final, message=f"Saved {step}.")
    get = lambda **asked: local.call("GET", "/v1/finetune/download", params={"ft_id": job_id} | asked)  # noqa: E731
    assert (get().content, get(checkpoint_step=1).content) == (b"model at 2", b"model at 1")
    assert fault(get(checkpoint="adapter")) == (404, "not_found_error", "checkpoint")
    assert fault(get(checkpoint="adapter", checkpoint_step=1)) == (404, "not_found_error", "checkpoint")


# nonsense


@pytest.mark.parametrize(
    "body",
    [b"{", b"\xff", b"[]", b"5", b'"x"', b"null", b"[" * 100_000, b'{"model": "\\ud800"}', b"{}" + b" " * (4 * 2**20)],
    ids=["broken", "not UTF-8", "list", "number", "text", "null", "deep", "half a character", "large"],
)
@pytest.mark.parametrize(
    "route", ["POST /v1/fine-tunes", "POST /v1/fine-tunes/estimate-price", "GET /v1/fine-tunes/{}/metrics"]
)
def test_a_body_that_is_no_object_is_refused(local, route, body):
    method, path = route.split()
    job_id = local.create(training_file=local.upload([{"text": "abc"}]))["id"]
    assert fault(local.call(method, path.format(job_id), content=body))[:2] == (400, "invalid_request_error")


FIELDS = sorted({*JobConfig.model_fields, *FLAT, "lora", "wandb_api_key", "scheduler_num_cycles"})
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=8),
    st.sampled_from(["max", "dpo", "sft", "Lora", "Full", "cosine", "\ud800", "ft-1:²", "\0"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*FIELDS, "method", "type", "lr_scheduler_args", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(change=st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=4))
def test_no_value_of_any_field_breaks_creation(local, change):
    ids = [one["id"] for one in local.get("/v1/files")["data"]] or [local.upload([{"text": "abc"}])]
    body = json.dumps({"model": "m", "training_file": ids[0]} | change)
    for path in ("/v1/fine-tunes", "/v1/fine-tunes/estimate-price"):
        answer = local.call("POST", path, content=body)
        assert answer.status_code in (200, 400), answer.text
        if answer.status_code == 400:
            fault(answer)


WRONG = {"list": [1], "object": {"x": 1}, "text": "x", "negative": -1, "large": 1e308, "true": True, "long": 10**400}


@pytest.mark.parametrize("value", WRONG)
def test_no_wrong_type_in_a_field_breaks_creation(local, value):
    file_id = local.upload([{"text": "abc"}])
    for name in FIELDS:
        body = json.dumps({"model": "m", "training_file": file_id} | {name: WRONG[value]})
        answer = local.call("POST", "/v1/fine-tunes", content=body)
        assert answer.status_code in (200, 400), (name, answer.text)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.dictionaries(
        st.sampled_from(["global_step_from", "global_step_to", "logged_at_from", "logged_at_to", "resolution"]), VALUES
    )
)
def test_no_value_of_any_bound_breaks_the_metrics(local, asked):
    jobs = [job["id"] for job in local.get("/v1/fine-tunes")["data"]]
    job_id = jobs[0] if jobs else local.create(training_file=local.upload([{"text": "abc"}]))["id"]
    answer = local.call("GET", f"/v1/fine-tunes/{job_id}/metrics", content=json.dumps(asked))
    assert answer.status_code in (200, 400), answer.text


@pytest.mark.parametrize("path", ["/v1/files/{}", "/v1/fine-tunes/{}", "/v1/files/{}/content", "/storage/{}"])
@pytest.mark.parametrize("name", ["%00", "%ED%A0%80", "..%2f..%2flock", "'; DROP TABLE jobs", "x" * 5000])
def test_no_id_breaks_a_route_or_reaches_the_disk(local, path, name):
    answer = local.call("PUT" if "storage" in path else "GET", path.format(name))
    assert answer.status_code in (403, 404)


def test_the_application_is_built_from_a_store_alone(store):
    app = make_app(store, api_key=KEY, wake=lambda: None)
    transport = httpx.ASGITransport(app)

    async def ask():
        async with httpx.AsyncClient(transport=transport, base_url="http://local") as client:
            return await client.get("/v1/files", headers={"authorization": f"Bearer {KEY}"})

    assert asyncio.run(ask()).status_code == 200
    assert Path(store.folder / "preftune.db").is_file()
