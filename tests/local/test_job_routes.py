import io
import json
import re
import tarfile
from datetime import UTC, datetime, timedelta

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preftune.api.config import JobConfig
from preftune.api.models import metric_rows
from preftune.api.nesting import FLAT
from preftune.local import limits, runner
from preftune.local.clock import PENDING, QUEUED, UPLOADING, Clock
from preftune.local.faults import Faults


@pytest.fixture
def trained(local, store):
    """Return the id of a completed LoRA job with rows, two checkpoints and their archives; nothing was trained."""
    file_id = local.upload([{"text": "abc"}])
    job_id = local.create(training_file=file_id, model="acme/tiny")["id"]
    store.next_job()
    for step in range(1, 7):
        row = {"train/global_step": step, "train/epoch": step / 6, "train/loss": 1 / step}
        store.add_row(job_id, step=step, split="train", row=row)
        if step % 3 == 0:
            row = {"train/global_step": step, "train/epoch": step / 6, "eval/loss": 2 / step}
            store.add_row(job_id, step=step, split="eval", row=row)
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
        "tokenized_dataset_path": None,
        "events": events,
    }
    assert shown["started_at"].endswith("Z")


def test_a_job_is_told_how_many_are_before_it(local, store):
    file_id = local.upload([{"text": "abc"}])
    ids = [local.create(training_file=file_id)["id"] for _ in range(4)]

    def depths():
        return [local.get(f"/v1/fine-tunes/{job_id}")["queue_depth"] for job_id in ids]

    assert depths() == [0, 1, 2, 3]
    store.next_job()
    assert depths() == [0, 1, 2, 3]
    store.end_job(ids[0], expected=("running",), to="completed", event="job_complete", message="Done.")
    local.call("POST", f"/v1/fine-tunes/{ids[2]}/cancel")
    assert depths() == [0, 0, 0, 1]


def progress(local, job_id):
    shown = local.get(f"/v1/fine-tunes/{job_id}")
    return shown["status"], shown["progress"]["estimate_available"], shown["progress"]["seconds_remaining"]


def test_the_seconds_to_the_next_state_are_those_of_the_clock(local, store):
    clock = Clock(store)
    clock.start(0)
    job_id = local.create(training_file=local.upload([{"text": "abc"}]))["id"]
    assert progress(local, job_id) == ("pending", False, 0)  # a clock that stands is turned by nobody knows whom
    clock.turn(PENDING + 1)
    assert store.next_job(clock.now()) is None
    assert progress(local, job_id) == ("queued", False, 0)
    clock.turn(QUEUED)
    assert progress(local, job_id) == ("queued", True, 0)
    store.next_job(clock.now())
    assert progress(local, job_id) == ("running", False, 0)  # a pace needs rows
    store.move_job(job_id, expected=("running",), to="uploading", facts={"stored_at": clock.after(UPLOADING)})
    assert progress(local, job_id) == ("uploading", False, 0)
    clock.turn(UPLOADING)
    assert progress(local, job_id) == ("uploading", True, 0)


def test_the_seconds_to_the_next_state_are_real_ones_at_the_speed_of_the_clock(local, store):
    Clock(store).start(0.001)
    job_id = local.create(training_file=local.upload([{"text": "abc"}]))["id"]
    status, available, seconds = progress(local, job_id)
    assert (status, available) == ("pending", True)
    assert PENDING / 0.001 / 2 < seconds <= PENDING / 0.001


def test_the_seconds_of_a_training_are_its_pace_times_what_is_left(local, store):
    job_id = local.create(training_file=local.upload([{"text": "abc"}]))["id"]
    store.next_job()
    store.move_job(job_id, expected=("running",), to="running", facts={"total_steps": 5})
    for step in (1, 2, 3):
        store.add_row(job_id, step=step, split="train", row={"train/global_step": step, "train/loss": 1.0})
    first, *_, last = local.get(f"/v1/fine-tunes/{job_id}/metrics")["metrics"]
    pace = (last["timestamp"] - first["timestamp"]) / 2 / 1e9
    assert progress(local, job_id) == ("running", True, pytest.approx(2 * pace))


@pytest.mark.parametrize("status", ["cancelled", "completed", "error", "user_error"])
def test_a_job_that_has_ended_has_no_next_state(local, store, status):
    job_id = local.create(training_file=local.upload([{"text": "abc"}]))["id"]
    store.move_job(job_id, expected=("pending",), to=status)
    assert progress(local, job_id) == (status, False, 0)


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


def test_an_idempotency_key_of_another_request_is_refused(local):
    file_id = local.upload([{"text": "abc"}])
    body = {"model": "m", "training_file": file_id, "n_epochs": 2}
    key = {"idempotency-key": "a" * limits.MAX_KEY}
    made = local.call("POST", "/v1/fine-tunes", json=body, headers=key).json()["id"]
    for change in ({"model": "n"}, {"n_epochs": 3}, {"suffix": "mine"}, {"training_method": {"method": "dpo"}}):
        answer = local.call("POST", "/v1/fine-tunes", json=body | change, headers=key)
        assert fault(answer) == (422, "invalid_request_error", "Idempotency-Key")
        message = f"this Idempotency-Key made {made} with another request; take a new key"
        assert answer.json()["error"]["message"] == message
    local.call("DELETE", f"/v1/files/{file_id}")  # what the first request needed is not asked for again
    same = local.call("POST", "/v1/fine-tunes", json=dict(reversed(body.items())), headers=key)
    assert (same.json()["id"], len(local.get("/v1/fine-tunes")["data"]), local.woken) == (made, 1, 1)


def test_an_idempotency_key_answers_with_the_job_as_it_stands_now(local, store):
    body, key = {"model": "m", "training_file": local.upload([{"text": "abc"}])}, {"idempotency-key": "a"}
    made = local.call("POST", "/v1/fine-tunes", json=body, headers=key).json()["id"]
    store.next_job()
    again = local.call("POST", "/v1/fine-tunes", json=body, headers=key).json()
    assert (again["id"], again["status"]) == (made, "running")
    local.call("DELETE", f"/v1/fine-tunes/{made}")
    assert local.call("POST", "/v1/fine-tunes", json=body, headers=key).json()["id"] != made


def test_an_idempotency_key_that_is_too_long_is_refused(local):
    body = {"model": "m", "training_file": local.upload([{"text": "abc"}])}
    answer = local.call("POST", "/v1/fine-tunes", json=body, headers={"idempotency-key": "a" * (limits.MAX_KEY + 1)})
    assert fault(answer) == (400, "invalid_request_error", "Idempotency-Key")
    assert local.get("/v1/fine-tunes")["data"] == []


def test_a_job_that_is_stuck_on_command_waits_until_it_is_cancelled(local, store):
    faults = Faults()
    faults.add("stuck-queued once")
    stuck = type(local)(store, faults=faults)
    file_id = local.upload([{"text": "abc"}])
    first, second = (stuck.create(training_file=file_id)["id"] for _ in range(2))
    assert store.next_job()["id"] == second
    assert progress(local, first) == ("queued", False, 0)
    assert local.call("POST", f"/v1/fine-tunes/{first}/cancel").status_code == 200
    assert progress(local, first) == ("cancelled", False, 0)


def test_a_job_from_a_checkpoint_counts_under_its_key_with_the_type_that_it_inherits(local, trained):
    body = {"training_file": local.get("/v1/files")["data"][0]["id"], "from_checkpoint": trained}
    sent = [local.call("POST", "/v1/fine-tunes", json=body, headers={"idempotency-key": "a"}) for _ in range(2)]
    assert sent[0].json() == sent[1].json()


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


@pytest.mark.parametrize("status", ["running", "uploading"])
def test_a_job_that_runs_or_uploads_is_asked_to_stop(local, store, status):
    job_id = local.create(training_file=local.upload([{"text": "abc"}]))["id"]
    store.next_job()
    store.move_job(job_id, expected=("running",), to=status)
    for _ in range(2):  # a repeated request, as after a lost answer, is answered alike
        assert local.call("POST", f"/v1/fine-tunes/{job_id}/cancel").json()["status"] == "cancel_requested"
    assert local.get(f"/v1/fine-tunes/{job_id}")["status"] == "cancel_requested"
    assert runner.run_next(store)
    ended = local.get(f"/v1/fine-tunes/{job_id}")
    assert ended["status"] == "cancelled"
    assert [one["type"] for one in ended["events"]] == ["job_pending", "cancel_requested", "job_stopped"]


@pytest.mark.parametrize("status", ["cancelled", "completed", "error", "user_error"])
def test_a_job_that_has_ended_cannot_be_cancelled(local, store, status):
    job_id = local.create(training_file=local.upload([{"text": "abc"}]))["id"]
    store.move_job(job_id, expected=("pending",), to=status)
    answer = local.call("POST", f"/v1/fine-tunes/{job_id}/cancel")
    assert fault(answer) == (400, "invalid_request_error", "id")
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


@pytest.mark.parametrize(("case", "write"), [("lower", str.lower), ("upper", str.upper)])
def test_events_are_written_in_the_case_that_was_asked_for(local, store, trained, case, write):
    asked = type(local)(store, event_case=case)
    types = [write(name) for name in ("job_pending", "checkpoint_save", "checkpoint_save", "job_complete")]
    assert [one["type"] for one in asked.get(f"/v1/fine-tunes/{trained}/events")["data"]] == types
    assert [one["type"] for one in asked.get(f"/v1/fine-tunes/{trained}")["events"]] == types


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
        ({"resolution": "fine"}, "resolution"),
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


# tokens


def unpacked(content):
    """Return the names in a .tar.zst and the rows of each."""
    with tarfile.open(fileobj=io.BytesIO(zstandard.ZstdDecompressor().stream_reader(content).read())) as tar:
        return {one.name: [json.loads(line) for line in tar.extractfile(one)] for one in tar}


def tokens_of(local, job):
    found = local.get(f"/v1/fine-tunes/{job['id']}/download-tokenized-dataset")
    answer = local.call("GET", found["url"], key=None)
    assert answer.status_code == 200, answer.text
    return found, answer


def test_there_are_no_tokens_before_a_job_has_made_them(local):
    job_id = local.create(training_file=local.upload([{"text": "abc"}]))["id"]
    answer = local.call("GET", f"/v1/fine-tunes/{job_id}/download-tokenized-dataset")
    assert fault(answer) == (404, "not_found_error", "id")
    assert answer.json()["error"]["message"] == f"job {job_id} has no tokenized data set yet"


def test_the_tokens_of_a_job_are_downloaded_without_the_key(local):
    training, held_out = local.upload([{"text": "ab"}, {"text": "c"}]), local.upload([{"text": "d"}])
    job = local.train(training_file=training, validation_file=held_out, n_evals=1)
    found, answer = tokens_of(local, job)
    expires = found.pop("expires_at")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", expires)
    assert found.pop("url").startswith(f"http://local/storage/tokens/{job['id']}?expires=")
    assert found == {
        "filename": f"{job['id']}_tokenized_datasets.tar.zst",
        "content_type": "application/zstd",
        "size": len(answer.content),
    }
    begin, masked = [1, ord("a"), 2], [-100] * 3
    rows = {text: {"input_ids": [*begin, *text, 256], "labels": [*masked, *text, 256]} for text in (b"ab", b"c", b"d")}
    assert unpacked(answer.content) == {"training.jsonl": [rows[b"ab"], rows[b"c"]], "validation.jsonl": [rows[b"d"]]}
    assert local.get(f"/v1/fine-tunes/{job['id']}")["tokenized_dataset_path"] == f"local://{job['id']}/tokenized"


def test_the_tokens_of_pairs_have_both_sides(local, pairs):
    job = local.train(training_file=local.upload(pairs(2)), training_method={"method": "dpo"})
    rows = unpacked(tokens_of(local, job)[1].content)["training.jsonl"]
    for number, row in enumerate(rows):
        assert sorted(row) == ["chosen_input_ids", "chosen_labels", "rejected_input_ids", "rejected_labels"]
        for side, text in [("chosen", f"Number {number} is fine."), ("rejected", f"Bah, {number}!")]:
            learned = [label for label in row[f"{side}_labels"] if label != -100]
            assert learned == [*text.encode(), 256]
            assert row[f"{side}_input_ids"][-len(learned) :] == learned
    assert len(rows) == 2


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


@pytest.mark.parametrize(
    ("range_", "content", "total"),
    [
        ("bytes=-4", b"at 6", "bytes 7-10/11"),
        ("bytes=0-1", b"me", "bytes 0-1/11"),
        ("bytes=7-", b"at 6", "bytes 7-10/11"),
    ],
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
    assert fault(get(checkpoint="adapter")) == (404, "not_found_error", None)
    assert fault(get(checkpoint="adapter", checkpoint_step=1)) == (404, "not_found_error", None)


# nonsense


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
