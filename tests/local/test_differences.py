"""Each difference from the hosted service that docs/differences.md lists, held to what it says."""

import time

import pytest

from preftune.local.faults import Faults

DPO = {"method": "dpo"}


@pytest.fixture
def trained(local, pairs):
    """Return a finished preference job."""
    return local.train(training_file=local.upload(pairs(4)), training_method=DPO, batch_size=2)


def kinds(job):
    return {event["type"] for event in job["events"]}


def warnings(job):
    return [event["message"] for event in job["events"] if event["level"] == "warning"]


def test_any_name_is_a_model_and_an_event_says_what_stands_in(local, pairs):
    assert local.get("/v1/fine-tunes/models/limits", model_name="no/such-model")["model_name"] == "no/such-model"
    job = local.train(training_file=local.upload(pairs(2)), training_method=DPO, model="no/such-model")
    assert "stands in for no/such-model" in warnings(job)[0]


def test_a_byte_is_a_token_and_lengths_are_bytes(local, pairs):
    rows = pairs(2)
    answer = rows[0]["preferred_output"][0]["content"]
    file = local.upload([{"messages": [*row["input"]["messages"], *row["preferred_output"]]} for row in rows])
    shown = local.call("POST", "/v1/fine-tunes/preview", json={"model": "m", "training_file": file}).json()
    assert shown["rows"][0]["num_trained_tokens"] == len(answer.encode()) + 1
    limits = local.get("/v1/fine-tunes/models/limits", model_name="m")
    assert (limits["min_max_seq_length"], limits["max_seq_length_sft"], limits["max_seq_length_dpo"]) == (
        16,
        65_536,
        32_768,
    )


def test_rates_are_scaled_to_the_engine_and_rows_report_the_one_asked_for(local, trained):
    assert max(row["train/learning_rate"] for row in local.rows(trained)) == 1e-5
    assert any("Rates are scaled" in message for message in warnings(trained))


def test_nothing_costs_anything_and_nobody_is_billed(local, trained):
    body = {"training_file": trained["training_file"], "n_epochs": 20}
    price = local.call("POST", "/v1/fine-tunes/estimate-price", json=body).json()
    assert (price["estimated_total_price"], price["allowed_to_proceed"], trained["total_price"]) == (0.0, True, 0)
    assert "billing_limit" not in kinds(trained)


def test_more_checkpoints_than_epochs_are_taken(local, pairs):
    job = local.train(
        training_file=local.upload(pairs(4)), training_method=DPO, batch_size=1, n_epochs=1, n_checkpoints=4
    )
    assert (job["status"], job["n_checkpoints"]) == ("completed", 4)


def test_a_suffix_may_have_64_characters(local, pairs):
    job = local.create(training_file=local.upload(pairs(2)), suffix="s" * 64)
    assert job["suffix"] == "s" * 64


def test_nothing_is_waited_for_unless_a_speed_says_so(local, trained):
    assert {"queued", "compressing"} & kinds(trained) == set()
    assert trained["status"] == "completed"


def test_jobs_run_one_after_another(local, pairs):
    file = local.upload(pairs(2))
    first, second = local.create(training_file=file)["id"], local.create(training_file=file)["id"]
    assert local.store.next_job()["id"] == first
    assert (local.store.next_job()["id"], local.store.status(second)) == (first, "pending")


def test_an_idempotency_key_makes_one_job(local, pairs):
    body = {"model": "m", "training_file": local.upload(pairs(2))}
    headers = {"idempotency-key": "k"}
    ids = {local.call("POST", "/v1/fine-tunes", json=body, headers=headers).json()["id"] for _ in range(2)}
    assert len(ids) == len(local.get("/v1/fine-tunes")["data"]) == 1


def test_a_duplicate_file_is_refused_without_a_retry(local, pairs):
    file = local.upload(pairs(2))
    fields = {"file_name": "pairs.jsonl", "checksum": local.store.file(file)["checksum"]}
    refused = local.call("POST", "/v1/files", data=fields)
    assert (refused.status_code, refused.headers["x-should-retry"], refused.json()["file_id"]) == (409, "false", file)


def test_a_file_sent_at_once_to_the_first_step_is_taken(local):
    taken = local.call("POST", "/v1/files", files={"file": ("chat.jsonl", b'{"text": "a"}\n')})
    assert (taken.status_code, taken.json()["filename"]) == (200, "chat.jsonl")


def test_only_json_lines_are_trained_on(local):
    file = local.upload(b"PAR1....PAR1", file_name="tokens.parquet", file_type="parquet")
    report = local.store.file(file)["report"]
    assert (report["valid"], "JSON lines alone" in report["error"]) == (False, True)


def test_the_vision_part_of_a_model_cannot_be_trained(local, pairs):
    body = {"model": "m", "training_file": local.upload(pairs(2)), "multimodal_params": {"train_vision": True}}
    refused = local.call("POST", "/v1/fine-tunes", json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "multimodal_params")


def test_dropout_and_modules_change_nothing_and_an_event_says_so(local, pairs):
    file = local.upload(pairs(4))
    kind = {"type": "Lora", "lora_dropout": 0.5, "lora_trainable_modules": "q_proj"}
    plain, tuned = (
        local.train(training_file=file, training_method=DPO, training_type=one) for one in ({"type": "Lora"}, kind)
    )
    assert local.rows(plain) == local.rows(tuned)
    assert any("lora_dropout and lora_trainable_modules change nothing" in message for message in warnings(tuned))


def test_packing_changes_nothing(local, pairs):
    file = local.upload(pairs(4))
    packed, padded = (
        local.train(training_file=file, training_method=DPO, packing=packing, max_seq_length=512)
        for packing in (True, False)
    )
    assert local.rows(packed) == local.rows(padded)


def test_weights_of_conversations_change_nothing(local, chats):
    rows = chats(4)
    plain, weighted = (
        local.train(training_file=local.upload(some)) for some in (rows, [row | {"weight": 3.0} for row in rows])
    )
    assert local.rows(plain) == local.rows(weighted)


def test_wandb_and_hugging_face_are_taken_and_not_called(local, pairs):
    job = local.train(
        training_file=local.upload(pairs(2)), training_method=DPO, wandb_api_key="k", wandb_project_name="p",
        hf_output_repo_name="r",
    )  # fmt: skip
    assert (job["status"], job["wandb_project_name"], job["wandb_url"]) == ("completed", "p", "")
    assert "wandb_init" not in kinds(job)


def test_a_job_that_stores_its_model_can_still_be_cancelled(local, pairs):
    job = local.create(training_file=local.upload(pairs(2)))
    local.store.move_job(job["id"], expected=("pending",), to="uploading")
    answer = local.call("POST", f"/v1/fine-tunes/{job['id']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancel_requested")


def test_a_download_says_its_digest(local, trained):
    answer = local.call("GET", f"/v1/finetune/download?ft_id={trained['id']}&checkpoint=adapter")
    assert answer.headers["repr-digest"].startswith("sha-256=:")
    assert answer.headers["etag"].startswith('"')


def test_an_adapter_is_the_engines_own(local, trained):
    archive = local.call("GET", f"/v1/finetune/download?ft_id={trained['id']}&checkpoint=adapter").content
    assert archive[:4] == b"\x28\xb5\x2f\xfd"
    kept = local.get(f"/v1/fine-tunes/{trained['id']}/checkpoints")["data"]
    assert [one["path"] for one in kept] == [f"local://{trained['id']}/2"] * 2


def test_who_asks_is_always_the_local_project(local):
    assert local.get("/v3/whoami")["project"] == {"id": "local", "name": "local", "slug": "local"}


def test_nobody_is_too_fast(local):
    assert {local.call("GET", "/v1/fine-tunes").status_code for _ in range(200)} == {200}


def test_event_types_are_in_lower_case(trained):
    assert {event["type"] for event in trained["events"]} == {event["type"].lower() for event in trained["events"]}


def test_a_file_of_pairs_has_the_format_preference_openai(local, pairs):
    assert local.store.file(local.upload(pairs(2)))["report"]["dataset_format"] == "preference_openai"


def test_a_margin_stands_in_every_row(local, trained):
    assert all("train/reward/margin" in row for row in local.rows(trained))


def test_a_failure_of_the_server_is_gone_on_from_under_the_same_id(local, pairs):
    job = local.create(training_file=local.upload(pairs(2)), training_method=DPO)
    local.store.next_job()  # a worker took it, and died
    assert local.store.next_job()["id"] == job["id"]
    assert len(local.get("/v1/fine-tunes")["data"]) == 1
    assert Faults().of_job() == {}


def test_an_address_of_the_storage_is_on_the_server_itself(local):
    opened = local.call("POST", "/v1/files", data={"file_name": "a.jsonl"})
    assert opened.headers["location"].startswith("http://local/storage/files/file-")
    query = dict(part.split("=") for part in opened.headers["location"].partition("?")[2].split("&"))
    assert 3500 < int(query["expires"]) - time.time() <= 3600


def test_a_suffix_is_a_part_of_a_name(local, pairs):
    asked = {"model": "m", "training_file": local.upload(pairs(2)), "training_method": DPO}
    answers = [local.call("POST", "/v1/fine-tunes", json=asked | {"suffix": suffix}) for suffix in ("v1.2-b", "v1/2")]
    assert [answer.status_code for answer in answers] == [200, 400]


def test_modules_of_any_name_are_taken(local, pairs):
    kind = {"type": "Lora", "lora_trainable_modules": "no_such_proj,k_proj"}
    job = local.create(training_file=local.upload(pairs(2)), training_method=DPO, training_type=kind)
    assert job["training_type"]["lora_trainable_modules"] == "no_such_proj,k_proj"


def test_images_are_taken_and_not_seen(local, pairs):
    text, image = {"type": "text", "text": "What is it?"}, {"url": "data:image/png;base64,iVBORw0KGgo="}

    def asking(*parts):
        return [row | {"input": {"messages": [{"role": "user", "content": [*parts]}]}} for row in pairs(2)]

    plain = local.train(training_file=local.upload(asking(text)), training_method=DPO)
    seen = local.train(
        training_file=local.upload(asking(text, {"type": "image_url", "image_url": image})), training_method=DPO
    )
    assert (seen["status"], local.rows(seen)) == ("completed", local.rows(plain))


def test_a_report_says_validity_format_and_lines_alone(local, pairs):
    shown = local.get(f"/v1/files/{local.upload(pairs(2, weight=0.5))}")["validation_report"]
    assert sorted(shown) == ["dataset_format", "file_id", "nlines", "valid"]


def test_a_job_has_no_ids_of_a_registry(trained):
    assert (trained["eval_steps"], [name for name in trained if "object_id" in name or "uploaded_at" in name]) == (
        0,
        [],
    )


def test_an_event_says_all_in_its_message(trained):
    assert {(event["hash"], event["model_path"], event["token_count"]) for event in trained["events"]} == {("", "", 0)}
