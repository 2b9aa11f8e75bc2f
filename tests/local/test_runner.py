import contextlib
import fcntl
import io
import itertools
import json
import math
import os
import sys
import tarfile
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import zstandard
from safetensors.numpy import load as load_tensors

from preftune.local import runner, tokenized
from preftune.local.clock import PENDING, QUEUED, UPLOADING, Clock
from preftune.local.engine.checkpoint import load_weights
from preftune.local.engine.model import base_weights

DPO = {"method": "dpo"}


class _Ended(Exception):  # noqa: N818 - stands in for the end of a process
    """The process would be gone here."""


@pytest.fixture
def at_row(store, monkeypatch):
    """Return a way to have something happen after the training row of a step was written."""

    def arrange(step, action):
        write = store.add_row

        def add_row(job_id, **row):
            write(job_id, **row)
            if (row["step"], row["split"]) == (step, "train"):
                action(job_id)

        monkeypatch.setattr(store, "add_row", add_row)

    return arrange


def kinds(job):
    return [event["type"] for event in job["events"]]


def messages(job, kind):
    return [event["message"] for event in job["events"] if event["type"] == kind]


# the whole way


def test_a_preference_job_tells_its_story_in_order(local, pairs):
    train, held_out = local.upload(pairs(5)), local.upload(pairs(2, weight=2.0))
    job = local.train(
        training_file=train, validation_file=held_out, training_method=DPO, n_epochs=2, batch_size=2, n_evals=2,
        n_checkpoints=3,
    )  # fmt: skip
    assert job["status"] == "completed"
    assert [(event["type"], event["step"]) for event in job["events"]] == [
        ("job_pending", 0), ("job_start", 0), ("model_downloading", 0), ("model_download_complete", 0), ("warning", 0),
        ("training_data_downloading", 0), ("training_data_download_complete", 0),
        ("validation_data_downloading", 0), ("validation_data_download_complete", 0),
        ("tokenized_dataset_upload_complete", 0), ("training_start", 0),
        ("checkpoint_save", 2), ("epoch_complete", 3), ("checkpoint_save", 4), ("epoch_complete", 6),
        ("checkpoint_save", 6),
        ("training_complete", 0), ("model_uploading", 0), ("model_upload_complete", 0), ("job_complete", 0),
    ]  # fmt: skip
    assert {name: job[name] for name in ("total_steps", "steps_completed", "evals_completed", "epochs_completed")} == {
        "total_steps": 6,
        "steps_completed": 6,
        "evals_completed": 2,
        "epochs_completed": 2,
    }
    assert (job["trainingfile_numlines"], job["param_count"]) == (5, 5 * 65_536 * 32 + 32 + 32 * 257 + 257)
    assert [(row["train/global_step"], "eval/loss" in row) for row in local.rows(job)] == [
        (1, False), (2, False), (3, False), (3, True), (4, False), (5, False), (6, False), (6, True),
    ]  # fmt: skip
    kept = local.get(f"/v1/fine-tunes/{job['id']}/checkpoints")["data"]
    assert [(one["step"], one["checkpoint_type"]) for one in kept] == [
        (6, "Final Merged"), (6, "Final Adapter"), (4, "Intermediate (step 4)"), (2, "Intermediate (step 2)"),
    ]  # fmt: skip


def test_rows_of_a_preference_job_hold_every_metric(local, pairs):
    file_id = local.upload(pairs(2))
    job = local.train(
        training_file=file_id, validation_file=file_id, training_method=DPO, n_evals=1, learning_rate=0.01
    )
    train, held_out = local.rows(job)
    metrics = {"loss", "reward/accuracy", "reward/chosen", "reward/rejected", "reward/margin", "approx. KL/chosen"}
    metrics |= {"approx. KL/rejected", "logps/chosen", "logps/rejected"}
    head = {"train/global_step", "train/epoch"}
    assert set(train) == head | {f"train/{name}" for name in metrics | {"grad_norm", "learning_rate"}}
    assert set(held_out) == head | {f"eval/{name}" for name in metrics}
    assert (train["train/loss"], train["train/reward/accuracy"]) == (pytest.approx(math.log(2), abs=1e-12), 0)
    assert (train["train/epoch"], held_out["train/epoch"]) == (1.0, 1.0)
    assert held_out["eval/loss"] < math.log(2)
    assert held_out["eval/reward/accuracy"] == 1
    assert held_out["eval/approx. KL/chosen"] > 0


def test_the_stand_in_is_told_of_with_the_models_name(local, pairs):
    job = local.train(training_file=local.upload(pairs(1)), model="acme/huge", training_method=DPO)
    (event,) = [event for event in job["events"] if event["type"] == "warning"]
    assert (event["level"], "stands in for acme/huge" in event["message"]) == ("warning", True)


@pytest.mark.parametrize(("rate", "schedule"), [(1e-5, "cosine"), (3e-4, "linear"), (0.01, "cosine")])
@pytest.mark.parametrize("method", [DPO, {"method": "sft"}])
def test_the_learning_rate_in_the_rows_is_the_users(local, pairs, chats, rate, schedule, method):
    job = local.train(
        training_file=local.upload(pairs(2) if method == DPO else chats(2)), training_method=method, n_epochs=2,
        learning_rate=rate, lr_scheduler={"lr_scheduler_type": schedule}, batch_size=2,
    )  # fmt: skip
    assert [row["train/learning_rate"] for row in local.rows(job)] == pytest.approx([rate, rate / 2], rel=1e-9)


@pytest.mark.parametrize(("total", "evals", "expected"), [(16, 3, [6, 11, 16]), (3, 5, [1, 2, 3]), (4, 1, [4])])
def test_evaluations_and_checkpoints_stand_at_their_share_of_the_steps_rounded_up(local, chats, total, evals, expected):
    file_id = local.upload(chats(1))
    job = local.train(
        training_file=file_id, validation_file=file_id, n_epochs=total, n_evals=evals, n_checkpoints=evals
    )
    kept = local.get(f"/v1/fine-tunes/{job['id']}/checkpoints")["data"]
    assert local.steps(job, "eval") == expected
    assert sorted({one["step"] for one in kept}) == expected


def test_accumulation_and_max_batch_decide_the_steps(local, chats):
    file_id = local.upload(chats(17))
    totals = [
        local.train(training_file=file_id, n_epochs=2, **sizes)["total_steps"]
        for sizes in ({}, {"batch_size": "max"}, {"batch_size": 4}, {"batch_size": 4, "gradient_accumulation_steps": 2})
    ]
    assert totals == [4, 4, 10, 6]


# supervised


def test_supervised_training_begins_at_the_uniform_loss_and_learns(local, chats):
    job = local.train(training_file=local.upload(chats(4)), n_epochs=5)
    losses = [row["train/loss"] for row in local.rows(job)]
    assert losses[0] == pytest.approx(math.log(257), abs=1e-5)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]


def turn(role, content, **more):
    return {"role": role, "content": content} | more


def test_every_layout_trains_as_the_conversation_that_it_is(local):
    def rows(row):
        return local.rows(local.train(training_file=local.upload([row]), n_epochs=3))

    question, answer = turn("user", "How?"), turn("assistant", "So.")
    assert rows({"prompt": "How?", "completion": "So."}) == rows({"messages": [question, answer]})
    assert rows({"text": "So."}) == rows({"messages": [answer]})


def test_every_answer_of_a_conversation_is_learned_unless_its_weight_is_zero(local):
    def rows(*turns, **fields):
        return local.rows(local.train(training_file=local.upload([{"messages": list(turns)}]), n_epochs=3, **fields))

    first, second = [turn("user", "How?"), turn("assistant", "So.")], [turn("user", "Why?"), turn("assistant", "Ah.")]
    muted = [second[0], turn("assistant", "Ah.", weight=0)]
    spoken = [second[0], turn("assistant", "Ah.", weight=1)]
    assert rows(*first, *muted) == rows(*first)
    assert rows(*first, *spoken) == rows(*first, *second)
    assert rows(*first, *second)[1:] != rows(*first)[1:]


def test_prompts_are_learned_when_asked_for(local):
    question, answer = turn("user", "How?"), turn("assistant", "So.")

    def rows(turns, said):
        method = {"method": "sft", "train_on_inputs": said}
        file_id = local.upload([{"messages": turns}])
        return local.rows(local.train(training_file=file_id, n_epochs=3, training_method=method))

    assert rows([question, answer], False) == rows([question, answer], "auto")
    assert rows([question, answer], True) != rows([question, answer], "auto")
    assert rows([turn("user", "How?", weight=0), answer], True) == rows([question, answer], False)


# preference


def length(text):
    return len(text) + 1  # the end mark


def sigmoid_loss(margin):
    return math.log1p(math.exp(-margin))


CHOSEN, REJECTED = length("Number 0 is fine."), length("Bah, 0!")


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({}, lambda c, r: sigmoid_loss(0)),
        ({"dpo_normalize_logratios_by_length": True, "dpo_beta": 2}, lambda c, r: sigmoid_loss(0)),
        ({"dpo_reference_free": True, "dpo_beta": 0.2}, lambda c, r: sigmoid_loss(0.2 * (c - r))),
        (
            {"dpo_reference_free": True, "dpo_normalize_logratios_by_length": True, "dpo_beta": 2},
            lambda c, r: sigmoid_loss(2 * (c / CHOSEN - r / REJECTED)),
        ),
        ({"rpo_alpha": 0.5}, lambda c, r: sigmoid_loss(0) - 0.5 * c / CHOSEN),
        ({"simpo_gamma": 0.5, "dpo_beta": 2}, lambda c, r: sigmoid_loss(2 * (c / CHOSEN - r / REJECTED) - 0.5)),
    ],
    ids=["plain", "normalised", "reference-free", "both", "rpo", "simpo"],
)
def test_each_knob_gives_the_loss_that_it_stands_for(local, pairs, knobs, expected):
    job = local.train(training_file=local.upload(pairs(1)), training_method=DPO | knobs, n_epochs=2)
    first, second = local.rows(job)
    logps = [first[f"train/logps/{side}"] for side in ("chosen", "rejected")]
    assert logps == pytest.approx([-CHOSEN * math.log(257), -REJECTED * math.log(257)], rel=1e-6)
    assert first["train/loss"] == pytest.approx(expected(*logps), rel=1e-6)
    assert second["train/loss"] < first["train/loss"]


def test_a_pairs_weight_multiplies_its_loss(local, pairs):
    job = local.train(training_file=local.upload(pairs(1, weight=3)), training_method=DPO)
    assert local.rows(job)[0]["train/loss"] == pytest.approx(3 * math.log(2))


def test_early_stopping_ends_completed_with_the_best_step(local, store, pairs):
    job = local.train(
        training_file=local.upload(pairs(4)), validation_file=local.upload(flipped(pairs(4))), training_method=DPO,
        n_epochs=8, n_evals=4, n_checkpoints=2, early_stopping_enabled=True, learning_rate=0.01,
    )  # fmt: skip
    losses = [row["eval/loss"] for row in local.rows(job) if "eval/loss" in row]
    assert (job["status"], job["total_steps"], job["steps_completed"], job["epochs_completed"]) == (
        "completed",
        8,
        6,
        6,
    )
    assert (job["early_stopped"], job["early_stopping_best_step"]) == (True, 2)
    assert job["early_stopping_best_metric"] == losses[0] == min(losses)
    assert local.steps(job, "eval") == [2, 4, 6]
    assert [(event["type"], event["step"]) for event in job["events"]][-7:] == [
        ("early_stopped", 6), ("refund", 6), ("checkpoint_save", 2),
        ("training_complete", 0), ("model_uploading", 0), ("model_upload_complete", 0), ("job_complete", 0),
    ]  # fmt: skip
    kept = local.get(f"/v1/fine-tunes/{job['id']}/checkpoints")["data"]
    assert [(one["step"], one["checkpoint_type"]) for one in kept] == [
        (2, "Final Merged"), (2, "Final Adapter"), (4, "Intermediate (step 4)"),
    ]  # fmt: skip


# checkpoints


def unpacked(local, job, **asked):
    content = local.call("GET", "/v1/finetune/download", params={"ft_id": job["id"]} | asked).content
    with tarfile.open(fileobj=io.BytesIO(zstandard.ZstdDecompressor().decompress(content))) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def archive(local, job, **asked):
    return list(unpacked(local, job, **asked))


ADAPTER, MODEL = ["adapter_model.safetensors", "adapter_config.json"], ["model.safetensors", "config.json"]


@pytest.mark.parametrize(
    ("kind", "final", "named", "intermediate"),
    [("Lora", MODEL, ADAPTER, ADAPTER), ("Full", MODEL, None, MODEL)],
)
def test_what_was_trained_can_be_downloaded(local, chats, kind, final, named, intermediate):
    job = local.train(training_file=local.upload(chats(2)), n_epochs=2, n_checkpoints=2, training_type={"type": kind})
    assert archive(local, job) == final
    assert archive(local, job, checkpoint_step=1) == intermediate
    if named:
        assert archive(local, job, checkpoint="adapter") == named


MATRICES = ("context_1", "context_2", "context_3", "context_5", "prompt", "output.weight")
BIASES = ("hidden.bias", "output.bias")


def matrix(stored, name):
    """Return the B or A of an adapter's archive; of a table's B, the rows that are not zero are stored."""
    if name in stored:
        return stored[name]
    whole = np.zeros((65_536, stored[f"{name}.values"].shape[1]), np.float32)
    whole[stored[f"{name}.rows"]] = stored[f"{name}.values"]
    return whole


@pytest.mark.parametrize(
    ("asked", "rank", "alpha"),
    [({}, 16, 32), ({"lora_r": 3}, 3, 6), ({"training_type": {"type": "Lora", "lora_r": 5, "lora_alpha": 20}}, 5, 20)],
)
def test_the_adapter_of_a_job_is_of_the_rank_that_was_asked_for_and_makes_its_model(
    local, store, pairs, asked, rank, alpha
):
    job = local.train(training_file=local.upload(pairs(3)), training_method=DPO, n_epochs=2, **asked)
    files = unpacked(local, job, checkpoint="adapter")
    assert json.loads(files["adapter_config.json"]) == {
        "engine": "preftune embedded byte model",
        "base_model_name_or_path": "acme/tiny",
        "step": 2,
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
    }
    stored = load_tensors(files["adapter_model.safetensors"])
    final, base = load_weights(store.checkpoint_path(job["id"], 2)), base_weights()
    for name in MATRICES:
        a, b = matrix(stored, f"{name}.lora_A"), matrix(stored, f"{name}.lora_B")
        assert (a.shape, b.shape) == ((rank, base[name].shape[1]), (base[name].shape[0], rank))
        assert b.any()
        np.testing.assert_allclose(final[name], base[name] + alpha / rank * (b @ a), rtol=1e-5, atol=1e-6)
    for name in BIASES:
        np.testing.assert_array_equal(final[name], base[name])


def test_a_job_for_the_whole_model_trains_every_array_of_it(local, store, pairs):
    job = local.train(
        training_file=local.upload(pairs(3)), training_method=DPO, training_type={"type": "Full"}, n_epochs=2
    )
    final, base = load_weights(store.checkpoint_path(job["id"], 2)), base_weights()
    assert [name for name in (*MATRICES, *BIASES) if np.array_equal(final[name], base[name])] == []
    assert json.loads(unpacked(local, job)["config.json"]) == {
        "engine": "preftune embedded byte model", "base_model_name_or_path": "acme/tiny", "step": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ({"type": "Lora", "lora_dropout": 0.1}, True),
        ({"type": "Lora", "lora_trainable_modules": "q_proj,v_proj"}, True),
        ({"type": "Lora", "lora_dropout": 0.0, "lora_trainable_modules": "all-linear", "lora_r": 4}, False),
        ({"type": "Full"}, False),
        (None, False),
    ],
)
def test_knobs_of_an_adapter_that_the_engine_does_not_have_are_told_of(local, chats, kind, told):
    job = local.train(training_file=local.upload(chats(1)), training_type=kind)
    expected = (
        "The embedded engine adapts every matrix, without dropout: lora_dropout and lora_trainable_modules change "
        "nothing here."
    )
    assert messages(job, "warning")[1:] == [expected] * told
    assert {event["level"] for event in job["events"] if event["type"] == "warning"} == {"warning"}


def test_a_continued_adapter_begins_anew_on_the_parents_merged_model(local, store, chats):
    parent = local.train(training_file=local.upload(chats(2)), n_epochs=2)
    child = local.train(
        model="", from_checkpoint=parent["id"], training_file=local.upload(chats(3)), n_epochs=2, lora_r=4
    )
    files = unpacked(local, child, checkpoint="adapter")
    assert json.loads(files["adapter_config.json"])["r"] == 4
    stored = load_tensors(files["adapter_model.safetensors"])
    before, after = (load_weights(store.checkpoint_path(job["id"], 2)) for job in (parent, child))
    for name in MATRICES:
        added = matrix(stored, f"{name}.lora_B") @ matrix(stored, f"{name}.lora_A")
        np.testing.assert_allclose(after[name], before[name] + 2 * added, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("tail", "step"), [("", 2), (":1", 1), (":2", 2)])
def test_a_job_goes_on_from_the_weights_of_its_checkpoint(local, store, chats, pairs, tail, step):
    parent = local.train(training_file=local.upload(chats(2)), n_epochs=2, n_checkpoints=2)
    child = local.train(
        model="", from_checkpoint=parent["id"] + tail, training_file=local.upload(pairs(1)), training_method=DPO,
        learning_rate=1e-8, max_grad_norm=0,
    )  # fmt: skip
    assert child["status"] == "completed"
    before, after = (load_weights(store.checkpoint_path(job["id"], at)) for job, at in ((parent, step), (child, 1)))
    assert max(float(np.abs(before[name] - after[name]).max()) for name in before) < 1e-5
    assert local.rows(child)[0]["train/loss"] == pytest.approx(math.log(2), abs=1e-9)


def test_a_checkpoint_that_was_deleted_meanwhile_is_the_users_error(local, chats):
    file_id = local.upload(chats(1))
    parent = local.train(training_file=file_id)
    child = local.create(model="", from_checkpoint=parent["id"], training_file=file_id)
    local.call("DELETE", f"/v1/fine-tunes/{parent['id']}")
    assert runner.run_next(local.store)
    ended = local.get(f"/v1/fine-tunes/{child['id']}")
    assert ended["status"] == "user_error"
    assert messages(ended, "job_error") == [f"from_checkpoint: there is no job or model {parent['id']}"]


# the budget


def long_pair(text):
    return {
        "input": {"messages": [turn("user", text)]},
        "preferred_output": [turn("assistant", "yes " * 30)],
        "non_preferred_output": [turn("assistant", "no")],
    }


def test_answers_over_the_budget_are_cut_and_counted(local):
    file_id = local.upload([long_pair("short"), long_pair("long " * 40)])
    job = local.train(training_file=file_id, training_method=DPO, max_seq_length=64)
    expected = "2 pairs of the training file were cut to 64 bytes; 1 had no answer left and were dropped."
    assert (job["status"], job["trainingfile_numlines"]) == ("completed", 1)
    assert messages(job, "warning")[1:] == [expected]


def test_a_cut_that_drops_nothing_says_so_little(local):
    job = local.train(training_file=local.upload([long_pair("short")]), training_method=DPO, max_seq_length=64)
    assert messages(job, "warning")[1:] == ["1 pairs of the training file were cut to 64 bytes."]


def test_a_conversation_over_the_budget_keeps_the_answers_that_fit(local):
    turns = [turn("user", "a"), turn("assistant", "b" * 10), turn("user", "c" * 99), turn("assistant", "d")]
    cut = local.train(training_file=local.upload([{"messages": turns}]), n_epochs=2, max_seq_length=40)
    whole = local.train(training_file=local.upload([{"messages": turns[:2]}]), n_epochs=2, max_seq_length=40)
    assert local.rows(cut) == local.rows(whole)
    assert messages(cut, "warning")[1:] == ["1 examples of the training file were cut to 40 bytes."]


@pytest.mark.parametrize(
    ("row", "method", "reason"),
    [
        (
            long_pair("x" * 99),
            DPO,
            (
                "The budget of 16 bytes a side leaves no answer in the training file; "
                "raise max_seq_length, or shorten the prompts."
            ),
        ),
        (
            {"prompt": "x" * 99, "completion": "y"},
            {"method": "sft"},
            (
                "The rows of the training file keep no answer within the budget of 16 bytes; "
                "raise max_seq_length, or shorten the prompts."
            ),
        ),
        (
            {"messages": [turn("assistant", "b", weight=0)]},
            {"method": "sft"},
            "The rows of the training file leave nothing to learn; give an answer the weight 1.",
        ),
    ],
)
def test_a_file_with_nothing_to_learn_is_the_users_error(local, row, method, reason):
    job = local.train(training_file=local.upload([row]), training_method=method, max_seq_length=16)
    assert (job["status"], messages(job, "job_error")) == ("user_error", [reason])


# files that do not do


@pytest.mark.parametrize("split", ["training", "validation"])
@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (DPO, "The {} file holds conversation rows; preference tuning needs preference rows."),
        ({"method": "sft"}, "The {} file holds preference rows; supervised tuning needs conversations."),
    ],
)
def test_a_file_of_another_format_is_the_users_error(local, pairs, chats, split, method, reason):
    right, wrong = (pairs(1), chats(1)) if method == DPO else (chats(1), pairs(1))
    files = {"training_file": local.upload(right), "validation_file": local.upload(right)}
    files[f"{split}_file"] = local.upload(wrong)
    job = local.train(training_method=method, n_evals=1, **files)
    assert (job["status"], messages(job, "job_error")) == ("user_error", [reason.format(split)])
    assert local.rows(job) == []


def test_a_validation_file_is_not_read_without_evaluations(local, pairs, chats):
    job = local.train(training_file=local.upload(chats(1)), validation_file=local.upload(pairs(1)))
    assert job["status"] == "completed"


def test_a_refused_file_is_the_users_error_with_the_reason(local):
    file_id = local.upload(b'{"text": 5}\n')
    job = local.train(training_file=file_id)
    reason = f"The training file {file_id} was refused: Line 1: text is a number; it must be text"
    assert (job["status"], messages(job, "job_error")) == ("user_error", [reason])


def test_a_deleted_file_is_the_users_error(local, chats):
    file_id = local.upload(chats(1))
    job_id = local.create(training_file=file_id)["id"]
    local.call("DELETE", f"/v1/files/{file_id}")
    runner.run_next(local.store)
    job = local.get(f"/v1/fine-tunes/{job_id}")
    assert (job["status"], messages(job, "job_error")) == ("user_error", [f"The training file {file_id} was deleted."])


def test_a_job_waits_for_its_file_to_be_read(local, store, chats, monkeypatch):
    file_id = local.upload(chats(1))
    job_id = local.create(training_file=file_id)["id"]
    read, seen = store.file, []

    def file(wanted):
        seen.append(wanted)
        return read(wanted) | {"status": "RUNNING" if len(seen) < 3 else "COMPLETED"}

    monkeypatch.setattr(store, "file", file)
    runner.run_next(store)
    assert (store.status(job_id), seen[:3]) == ("completed", [file_id] * 3)


def test_a_job_that_waits_for_its_file_can_be_cancelled(local, store, chats, monkeypatch):
    file_id = local.upload(chats(1))
    job_id = local.create(training_file=file_id)["id"]
    read = store.file

    def file(wanted):
        store.move_job(job_id, expected=("running",), to="cancel_requested")
        return read(wanted) | {"status": "QUEUED"}

    monkeypatch.setattr(store, "file", file)
    runner.run_next(store)
    assert store.status(job_id) == "cancelled"


# ends


def test_there_is_nothing_to_run_in_an_empty_store(store):
    assert not runner.run_next(store)


def test_jobs_run_in_the_order_of_their_creation(local, chats):
    file_id = local.upload(chats(1))
    first, second = (local.create(training_file=file_id)["id"] for _ in range(2))
    runner.run_next(local.store)
    assert [local.store.status(job_id) for job_id in (first, second)] == ["completed", "pending"]


def test_a_running_job_stops_at_the_next_step_when_cancelled(local, chats, at_row):
    at_row(2, lambda job_id: local.call("POST", f"/v1/fine-tunes/{job_id}/cancel"))
    job = local.train(training_file=local.upload(chats(1)), n_epochs=5)
    assert (job["status"], local.steps(job, "train"), kinds(job)[-2:]) == (
        "cancelled", [1, 2], ["cancel_requested", "job_stopped"],
    )  # fmt: skip
    assert local.get(f"/v1/fine-tunes/{job['id']}/checkpoints") == {"data": []}


def test_a_job_cancelled_at_its_last_moment_is_cancelled(local, store, chats, monkeypatch):
    keep = store.add_checkpoint

    def add_checkpoint(job_id, **kept):
        keep(job_id, **kept)
        store.move_job(job_id, expected=("running",), to="cancel_requested")

    monkeypatch.setattr(store, "add_checkpoint", add_checkpoint)
    job = local.train(training_file=local.upload(chats(1)))
    assert (job["status"], kinds(job)[-2:]) == ("cancelled", ["training_complete", "job_stopped"])


def test_a_job_whose_cancelling_a_dead_worker_left_is_ended(local, store, chats):
    job_id = local.create(training_file=local.upload(chats(1)))["id"]
    store.next_job()
    local.call("POST", f"/v1/fine-tunes/{job_id}/cancel")
    assert runner.run_next(store)
    assert (store.status(job_id), runner.run_next(store)) == ("cancelled", False)


def test_a_job_that_fails_while_it_is_being_cancelled_is_cancelled(local, store, chats, monkeypatch):
    def broken(*_, **__):
        store.move_job(job_id, expected=("running",), to="cancel_requested")
        raise RuntimeError("out of luck")

    monkeypatch.setattr(runner, "train", broken)
    job_id = local.create(training_file=local.upload(chats(1)))["id"]
    while runner.run_next(store):
        pass
    assert store.status(job_id) == "cancelled"


def test_a_job_deleted_while_it_runs_leaves_nothing_and_the_next_one_runs(local, store, chats, at_row):
    file_id = local.upload(chats(1))
    first, second = (local.create(training_file=file_id, n_epochs=3)["id"] for _ in range(2))
    at_row(2, lambda job_id: job_id == first and local.call("DELETE", f"/v1/fine-tunes/{job_id}"))
    while runner.run_next(store):
        pass
    assert [job["id"] for job in store.jobs()] == [second]
    assert (store.status(second), store.metrics(first)) == ("completed", [])
    assert not store.checkpoint_path(first, 3).parent.exists()


def test_a_failing_engine_is_the_jobs_error_and_not_the_workers(local, store, chats, monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(runner, "train", broken)
    job = local.train(training_file=local.upload(chats(1)))
    last = job["events"][-1]
    assert (job["status"], last["type"], last["level"]) == ("error", "job_error", "error")
    assert last["message"] == "The embedded engine failed: RuntimeError: out of luck"
    assert [record.getMessage() for record in caplog.records] == [f"job {job['id']} failed"]


def test_a_job_whose_worker_died_too_often_is_not_begun_again(local, store, chats):
    job_id = local.create(training_file=local.upload(chats(1)))["id"]
    for _ in range(3):
        store.next_job()
    assert runner.run_next(store)
    job = local.get(f"/v1/fine-tunes/{job_id}")
    assert (job["status"], messages(job, "job_error")) == ("error", ["The worker died 3 times while it ran this job."])


def test_numbers_out_of_range_are_null_and_the_rows_stay_readable(local, chats):
    with np.errstate(all="ignore"):
        job = local.train(training_file=local.upload(chats(1)), n_epochs=3, weight_decay=1e300, learning_rate=0.01)
    assert job["status"] == "completed"
    assert [row["train/loss"] is None for row in local.rows(job)] == [False, True, True]


# the same rows


def trained(local, pairs, **fields):
    return {
        "training_file": local.upload(pairs(5)), "validation_file": local.upload(pairs(3)), "training_method": DPO,
        "n_epochs": 2, "batch_size": 2, "n_evals": 2, "n_checkpoints": 2, "learning_rate": 1e-3,
    } | fields  # fmt: skip


def test_one_seed_gives_the_same_rows_and_another_seed_others(local, pairs):
    fields = trained(local, pairs)
    first, again, default, other = (
        local.rows(local.train(**fields, **seed))
        for seed in ({"random_seed": 42}, {"random_seed": 42}, {}, {"random_seed": 0})
    )
    assert first == again == default
    assert first != other


def test_a_job_begun_again_after_the_workers_death_writes_what_it_would_have_written(local, store, pairs):
    fields = trained(local, pairs)
    expected = local.train(**fields)

    with pytest.MonkeyPatch.context() as patch:
        write = store.add_checkpoint

        def add_checkpoint(job_id, **kept):
            write(job_id, **kept)
            raise SystemExit

        patch.setattr(store, "add_checkpoint", add_checkpoint)
        job_id = local.create(**fields)["id"]
        with pytest.raises(SystemExit):
            runner.run_next(store)
    left = store.metrics(job_id)
    assert (store.status(job_id), len(left)) == ("running", 4)
    assert runner.run_next(store)
    job = local.get(f"/v1/fine-tunes/{job_id}")
    assert store.metrics(job_id)[:4] == left
    assert local.rows(job) == local.rows(expected)
    assert kinds(job) == kinds(expected)
    assert job["status"] == "completed"


def test_the_reference_is_kept_with_the_job_whatever_becomes_of_its_parent(local, store, pairs, at_row):
    parent = local.train(**trained(local, pairs))
    fields = trained(local, pairs) | {"from_checkpoint": parent["id"], "model": None}
    expected = local.train(**fields)

    deaths = []

    def die_once(job_id):
        if not deaths:
            deaths.append(job_id)
            raise SystemExit

    at_row(1, die_once)
    job_id = local.create(**fields)["id"]
    with pytest.raises(SystemExit):
        runner.run_next(store)
    local.call("DELETE", f"/v1/fine-tunes/{parent['id']}")
    assert runner.run_next(store)
    job = local.get(f"/v1/fine-tunes/{job_id}")
    assert (job["status"], local.rows(job)) == ("completed", local.rows(expected))


def test_a_job_deleted_under_the_worker_is_no_failure_to_tell(local, store, chats, at_row, caplog):
    def pull_away(job_id):
        store.delete_job(job_id)
        raise FileNotFoundError(job_id)

    at_row(1, pull_away)
    job_id = local.create(training_file=local.upload(chats(1)))["id"]
    assert runner.run_next(store)
    assert (store.status(job_id), caplog.records) == (None, [])
    assert not store.checkpoint_path(job_id, 0).parent.exists()


# going on where a dead worker was


class _Died(BaseException):
    """The worker's process is gone here."""


@pytest.fixture
def dies_before(store):
    """Return a context in which the worker dies before the nth thing that it writes."""
    writes = [(store, name) for name in ("add_checkpoint", "add_event", "add_job", "add_row", "end_job", "move_job")]
    writes += [(runner, name) for name in ("save_state", "save_weights", "write_whole")]
    writes += [(tokenized, "write_archive")]

    @contextlib.contextmanager
    def arrange(number):
        count = itertools.count(1)

        def dying(write):
            def written(*values, **named):
                if next(count) == number:
                    raise _Died
                return write(*values, **named)

            return written

        with pytest.MonkeyPatch.context() as patch:
            for owner, name in writes:
                patch.setattr(owner, name, dying(getattr(owner, name)))
            yield

    return arrange


@pytest.fixture
def dies_after(store, monkeypatch):
    """Return a way to have the worker die, once, when it has written a checkpoint."""

    def arrange(step, *, final=False):
        write, deaths = store.add_checkpoint, []

        def add_checkpoint(job_id, **kept):
            write(job_id, **kept)
            if (kept["step"], kept["final"], deaths) == (step, final, []):
                deaths.append(job_id)
                raise _Died

        monkeypatch.setattr(store, "add_checkpoint", add_checkpoint)

    return arrange


@pytest.fixture
def trained_steps(monkeypatch):
    """Return the list of steps that the engine is asked for, as it is asked."""
    steps, real = [], runner.train

    def train(*given, **named):
        for item in real(*given, **named):
            if isinstance(item, runner.Row) and item.split == "train":
                steps.append(item.step)
            yield item

    monkeypatch.setattr(runner, "train", train)
    return steps


def outcome(local, job):
    """Return all that is left of a job, with neither its names nor the times."""

    def named(text):
        return text.replace(job["model_output_name"], "NAME").replace(job["id"], "ID")

    own = {"id", "job_id", "created_at", "updated_at", "started_at", "events", "progress", "model_output_name"}
    folder = local.store.checkpoint_path(job["id"], 0).parent
    kept = local.get(f"/v1/fine-tunes/{job['id']}/checkpoints")["data"]
    return {
        "job": {name: named(str(value)) for name, value in job.items() if name not in own},
        "rows": local.rows(job),
        "events": [(one["type"], one["level"], one["step"], named(one["message"])) for one in job["events"]],
        "checkpoints": [(one["step"], one["checkpoint_type"], named(one["path"])) for one in kept],
        "files": {path.name: path.read_bytes() for path in sorted(folder.iterdir())},
    }


def run_to_its_end(local, job_id):
    while local.store.unfinished():
        runner.run_next(local.store)
    return local.get(f"/v1/fine-tunes/{job_id}")


def flipped(rows):
    return [
        row | {"preferred_output": row["non_preferred_output"], "non_preferred_output": row["preferred_output"]}
        for row in rows
    ]


KINDS = {
    "adapter": {},
    "early stopping": {"early_stopping_enabled": True, "n_epochs": 8, "n_evals": 8, "n_checkpoints": 8},
    "whole model": {"training_type": {"type": "Full"}},
}


@pytest.fixture
def fields(local, pairs):
    """Return the configuration of a job of six steps, or one that stops early at its third."""

    def of(kind):
        held_out = flipped(pairs(4)) if kind == "early stopping" else pairs(2)
        sizes = {"n_epochs": 3, "n_evals": 3, "n_checkpoints": 3, "batch_size": 2} | KINDS[kind]
        return {
            "training_file": local.upload(pairs(4)), "validation_file": local.upload(held_out),
            "training_method": DPO, "learning_rate": 0.01,
        } | sizes  # fmt: skip

    return of


@pytest.mark.parametrize(
    ("kind", "step", "again"),
    [
        ("adapter", 2, [3, 4, 5, 6]),
        ("adapter", 4, [5, 6]),
        ("early stopping", 2, [3, 4, 5, 6]),
        ("early stopping", 6, []),  # the checkpoint at which it halted
        ("whole model", 2, [3, 4, 5, 6]),
        ("whole model", 4, [5, 6]),
    ],
)
def test_a_job_goes_on_from_the_last_checkpoint_of_a_dead_worker_as_if_nothing_had_been(
    local, store, fields, dies_after, trained_steps, kind, step, again
):
    twin = local.train(**fields(kind))
    assert trained_steps == [1, 2, 3, 4, 5, 6]
    dies_after(step)
    job_id = local.create(**fields(kind))["id"]
    with pytest.raises(_Died):
        runner.run_next(store)
    assert store.checkpoint_path(job_id, step, ".state.safetensors").is_file()
    trained_steps.clear()
    job = run_to_its_end(local, job_id)
    assert trained_steps == again
    assert outcome(local, job) == outcome(local, twin)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_job_whose_worker_died_after_the_final_checkpoint_is_only_finished(
    local, store, fields, dies_after, trained_steps, kind
):
    twin = local.train(**fields(kind))
    dies_after(next(one["step"] for one in local.store.checkpoints(twin["id"]) if one["final"]), final=True)
    job_id = local.create(**fields(kind))["id"]
    with pytest.raises(_Died):
        runner.run_next(store)
    trained_steps.clear()
    assert outcome(local, run_to_its_end(local, job_id)) == outcome(local, twin)
    assert trained_steps == []


@pytest.mark.slow
def test_wherever_a_worker_dies_its_job_leaves_what_an_undisturbed_one_leaves(local, store, pairs, dies_before):
    asked = {
        "training_file": local.upload(pairs(2)), "validation_file": local.upload(pairs(1)), "training_method": DPO,
        "n_epochs": 2, "n_evals": 1, "n_checkpoints": 2, "lora_r": 2,
    }  # fmt: skip
    expected = outcome(local, local.train(**asked))
    differing = []
    for number in itertools.count(1):
        job_id = local.create(**asked)["id"]
        died = True
        with dies_before(number), contextlib.suppress(_Died):
            runner.run_next(store)
            died = False
        found = outcome(local, run_to_its_end(local, job_id))
        differing += [(number, what) for what in expected if found[what] != expected[what]]
        if not died:
            break
    assert number > 30
    assert differing == []


def test_a_job_whose_state_is_gone_begins_again_and_ends_the_same(local, store, fields, dies_after, trained_steps):
    twin = local.train(**fields("adapter"))
    dies_after(2)
    job_id = local.create(**fields("adapter"))["id"]
    with pytest.raises(_Died):
        runner.run_next(store)
    store.checkpoint_path(job_id, 2, ".state.safetensors").unlink()
    trained_steps.clear()
    assert outcome(local, run_to_its_end(local, job_id)) == outcome(local, twin)
    assert trained_steps == [1, 2, 3, 4, 5, 6]


def states(store):
    return sorted(path.name for path in store.folder.rglob("*.state.safetensors"))


def test_only_the_last_state_of_a_job_is_kept_while_it_runs(local, store, fields, at_row):
    seen = []
    at_row(6, lambda _: seen.extend(states(store)))
    local.train(**fields("adapter"))
    assert (seen, states(store)) == (["4.state.safetensors"], [])


@pytest.mark.parametrize(
    ("way", "status"),
    [
        ("cancel", "cancelled"),
        ("delete", None),
        ("job-error at step 5", "error"),
        ("user_error at step 5", "user_error"),
    ],
)
def test_a_job_leaves_no_state_however_it_ends(local, store, fields, at_row, way, status):
    if " at " in way:
        local.options.faults.add(way)
    else:
        method, path = ("POST", "/cancel") if way == "cancel" else ("DELETE", "")
        at_row(5, lambda job_id: local.call(method, f"/v1/fine-tunes/{job_id}{path}"))
    job_id = local.create(**fields("adapter"))["id"]
    assert runner.run_next(store)
    assert (store.status(job_id), states(store)) == (status, [])


@pytest.mark.parametrize(("way", "status"), [("cancelled", "cancelled"), ("died too often", "error")])
def test_a_job_that_ends_without_running_again_leaves_no_state_either(local, store, fields, dies_after, way, status):
    dies_after(2)
    job_id = local.create(**fields("adapter"))["id"]
    with pytest.raises(_Died):
        runner.run_next(store)
    if way == "cancelled":
        local.call("POST", f"/v1/fine-tunes/{job_id}/cancel")
    else:
        for _ in range(3):
            store.next_job()
    assert runner.run_next(store)
    assert (store.status(job_id), states(store)) == (status, [])


def test_the_worker_removes_what_a_dead_one_was_writing(store, monkeypatch):
    job_id = store.add_job("ft-01234567-89ab-cdef-0123-456789abcdef", output_name="local/a", config={}, facts={})
    part, whole = (store.checkpoint_path(job_id, 2, suffix) for suffix in (".safetensors.part", ".safetensors"))
    part.parent.mkdir()
    for path in (part, whole):
        path.write_bytes(b"x")

    def run_next(_):
        raise _Ended

    monkeypatch.setattr(runner, "_watch", lambda *_: None)
    monkeypatch.setattr(runner, "run_next", run_next)
    with pytest.raises(_Ended):
        runner.main(str(store.folder))
    assert list(part.parent.iterdir()) == [whole]


# faults on command


def test_a_job_error_on_command_comes_after_the_row_of_its_step(local, chats, caplog):
    local.options.faults.add("job-error at step 2 once")
    file_id = local.upload(chats(1))
    job, after = (local.train(training_file=file_id, n_epochs=3) for _ in range(2))
    assert (job["status"], local.steps(job, "train")) == ("error", [1, 2])
    assert messages(job, "job_error") == ["The embedded engine failed: RuntimeError: a fault on command, at step 2"]
    assert [record.getMessage() for record in caplog.records] == [f"job {job['id']} failed"]
    assert after["status"] == "completed"


def test_a_user_error_on_command_is_told_as_the_users(local, chats):
    local.options.faults.add("user_error at step 3")
    job = local.train(training_file=local.upload(chats(1)), n_epochs=3)
    assert (job["status"], local.steps(job, "train")) == ("user_error", [1, 2, 3])
    assert messages(job, "job_error") == ["A fault on command, at step 3."]


@pytest.mark.parametrize(
    ("kind", "status"), [("job-error", "error"), ("refund", "error"), ("user_error", "user_error")]
)
def test_a_fault_behind_the_last_step_comes_at_the_last(local, chats, kind, status):
    local.options.faults.add(f"{kind} at step 400 once")
    job = local.train(training_file=local.upload(chats(1)), n_epochs=3)
    assert (job["status"], local.steps(job, "train")) == (status, [1, 2, 3])


def test_an_early_stop_on_command_ends_completed_at_its_step(local, chats):
    local.options.faults.add("early-stop at step 2")
    job = local.train(training_file=local.upload(chats(1)), n_epochs=4)
    assert (job["status"], job["early_stopped"]) == ("completed", True)
    assert (job["early_stopping_best_step"], job["early_stopping_best_metric"]) == (2, None)
    assert (local.steps(job, "train"), messages(job, "early_stopped")) == (
        [1, 2], ["Stopped early at step 2; the best step is 2."],
    )  # fmt: skip
    assert [one["step"] for one in local.get(f"/v1/fine-tunes/{job['id']}/checkpoints")["data"]] == [2, 2]


def config_of(store, job_id):
    return store.job(job_id)["config"]


def test_a_refund_on_command_gives_the_work_to_a_new_job(local, store, chats):
    local.options.faults.add("refund at step 2 once")
    twin_fields = {"training_file": local.upload(chats(2)), "n_epochs": 3, "suffix": "mine", "random_seed": 7}
    first = local.train(**twin_fields)
    (second_id,) = (job["id"] for job in store.jobs() if job["id"] != first["id"])
    assert (first["status"], local.steps(first, "train")) == ("error", [1, 2])
    assert [(one["type"], one["level"], one["step"], one["message"]) for one in first["events"]][-2:] == [
        ("refund", "info", 2, "The 2 steps that were run are not charged."),
        ("job_restarted", "error", 0, f"A fault on command, at step 2: the job goes on as {second_id}."),
    ]
    assert (store.status(second_id), config_of(store, second_id)) == ("pending", config_of(store, first["id"]))
    second, twin = run_to_its_end(local, second_id), local.train(**twin_fields)
    assert second["status"] == "completed"
    assert second["model_output_name"] == f"local/tiny-mine-{second_id[3:11]}"
    assert outcome(local, second) == outcome(local, twin)


def test_a_refund_makes_one_new_job_wherever_its_worker_dies(local, store, chats, dies_before):
    file_id = local.upload(chats(1))
    for number in itertools.count(1):
        local.options.faults.clear()
        local.options.faults.add("refund at step 1")
        before = len(store.jobs())
        first = local.create(training_file=file_id)["id"]
        died = True
        with dies_before(number), contextlib.suppress(_Died):
            runner.run_next(store)
            died = False
        run_to_its_end(local, first)
        ends = [job["status"] for job in store.jobs()][: len(store.jobs()) - before]
        assert ends == ["completed", "error"], f"death before write {number}"
        if not died:
            break
    assert number > 10


def test_a_job_that_is_stuck_stays_queued_and_lets_others_pass_until_it_is_cancelled(local, store, chats):
    local.options.faults.add("stuck-queued once")
    file_id = local.upload(chats(1))
    stuck = local.create(training_file=file_id)["id"]
    assert local.train(training_file=file_id)["status"] == "completed"
    assert (runner.run_next(store), store.status(stuck)) == (False, "queued")
    assert local.call("POST", f"/v1/fine-tunes/{stuck}/cancel").json()["status"] == "cancel_requested"
    assert (store.status(stuck), runner.run_next(store)) == ("cancelled", False)


# the clock


@pytest.fixture
def clock(local, store):
    """Return a clock that only tests turn."""
    made = Clock(store)
    made.start(0)
    return made


@pytest.fixture
def while_storing(monkeypatch):
    """Return a way to have something happen each time that the worker looks whether the model is stored."""

    def arrange(action):
        monkeypatch.setattr(runner, "time", SimpleNamespace(sleep=lambda _: action()))

    return arrange


def test_a_job_waits_and_is_stored_for_as_long_as_the_clock_says(local, store, chats, clock, while_storing):
    job_id = local.create(training_file=local.upload(chats(1)))["id"]
    seen = []

    def look():
        seen.append((clock.now(), store.status(job_id)))

    def store_on():
        look()
        clock.turn(UPLOADING / 2)

    while_storing(store_on)
    for seconds in (0.0, PENDING - 1, 1.0, QUEUED - 1, 1.0):
        clock.turn(seconds)
        ran = runner.run_next(store)
        look()
    begun, half = PENDING + QUEUED, UPLOADING / 2
    assert seen == [
        (0.0, "pending"), (PENDING - 1, "pending"), (PENDING, "queued"), (begun - 1, "queued"),
        (begun, "uploading"), (begun + half, "uploading"), (begun + UPLOADING, "completed"),
    ]  # fmt: skip
    assert ran


def test_a_job_can_be_cancelled_while_its_model_is_stored(local, store, chats, clock, while_storing):
    job_id = local.create(training_file=local.upload(chats(1)))["id"]
    clock.turn(PENDING + QUEUED)
    answers = []
    while_storing(lambda: answers.append(local.call("POST", f"/v1/fine-tunes/{job_id}/cancel").json()["status"]))
    assert runner.run_next(store)
    job = local.get(f"/v1/fine-tunes/{job_id}")
    assert (job["status"], answers, kinds(job)[-3:]) == (
        "cancelled", ["cancel_requested"], ["model_uploading", "cancel_requested", "job_stopped"],
    )  # fmt: skip


def test_a_job_deleted_while_its_model_is_stored_leaves_nothing(local, store, chats, clock, while_storing):
    job_id = local.create(training_file=local.upload(chats(1)))["id"]
    clock.turn(PENDING + QUEUED)
    while_storing(lambda: local.call("DELETE", f"/v1/fine-tunes/{job_id}"))
    assert runner.run_next(store)
    assert (store.jobs(), list((store.folder / "checkpoints").iterdir())) == ([], [])


def test_a_worker_that_dies_while_the_model_is_stored_starts_no_second_wait(
    local, store, chats, clock, while_storing, trained_steps
):
    job_id = local.create(training_file=local.upload(chats(1)))["id"]
    clock.turn(PENDING + QUEUED)

    def die():
        raise _Died

    while_storing(die)
    with pytest.raises(_Died):
        runner.run_next(store)
    clock.turn(UPLOADING)
    assert runner.run_next(store)
    job = local.get(f"/v1/fine-tunes/{job_id}")
    assert (job["status"], trained_steps) == ("completed", [1])
    assert kinds(job)[-3:] == ["model_uploading", "model_upload_complete", "job_complete"]


# the tokens


def tokens(store, job):
    with (
        zstandard.open(store.tokenized_path(job["id"]), "rb") as packed,
        tarfile.open(fileobj=packed, mode="r|") as tar,
    ):
        return {member.name: tar.extractfile(member).read().splitlines() for member in tar}


def test_the_tokens_of_both_files_are_kept_with_a_job(local, store, pairs, fields):
    job = local.train(**fields("adapter"))
    assert {name: len(found) for name, found in tokens(store, job).items()} == {
        "training.jsonl": 4,
        "validation.jsonl": 2,
    }
    assert job["tokenized_dataset_path"] == f"local://{job['id']}/tokenized"


def test_the_tokens_of_a_file_that_is_not_evaluated_on_are_left_out(local, store, chats):
    training, held_out = local.upload(chats(2)), local.upload(chats(3))
    job = local.train(training_file=training, validation_file=held_out)
    assert {name: len(found) for name, found in tokens(store, job).items()} == {"training.jsonl": 2}


def test_the_tokens_are_cut_and_marked_as_the_job_asks(local, store):
    file_id = local.upload([{"prompt": "abcdefghijkl", "completion": "xyz"}])
    asked = {"max_seq_length": 16, "training_method": {"method": "sft", "train_on_inputs": True}}
    (row,) = tokens(store, local.train(training_file=file_id, **asked))["training.jsonl"]
    whole = [1, ord("u"), 2, *b"abcdefghijkl", 256]
    assert json.loads(row) == {"input_ids": whole, "labels": [-100] * 3 + whole[3:]}


# the process


def test_the_worker_runs_what_waits_and_looks_again_when_woken(store, monkeypatch):
    looked = []

    def run_next(_):
        with (store.folder / "worker").open("a") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        looked.append(len(looked))
        if len(looked) == 4:
            raise _Ended
        return len(looked) < 3

    monkeypatch.setattr(runner, "_watch", lambda wake, server: wake.set() if server == os.getppid() else None)
    monkeypatch.setattr(runner, "run_next", run_next)
    with pytest.raises(_Ended):
        runner.main(str(store.folder))
    assert looked == [0, 1, 2, 3]


@pytest.fixture
def pipe(monkeypatch):
    """Yield the writing end of a pipe that is the standard input; the process cannot really end."""
    reading, writing = os.pipe()

    def end(code):
        raise _Ended(code)

    with os.fdopen(reading) as stdin, os.fdopen(writing, "wb", buffering=0) as server:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(os, "_exit", end)
        yield server


def test_a_byte_wakes_the_worker_and_the_end_of_the_pipe_ends_it(pipe):
    wake = threading.Event()
    pipe.write(b"\n")
    pipe.close()
    with pytest.raises(_Ended, match="0"):
        runner._watch(wake, os.getppid())
    assert wake.is_set()


def test_the_worker_ends_when_its_server_is_gone_although_the_pipe_is_open(pipe, monkeypatch):
    wake, parents = threading.Event(), iter([7, 7, 1])
    monkeypatch.setattr(runner, "_WATCH", 0.001)
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    with pytest.raises(_Ended, match="0"):
        runner._watch(wake, 7)
    assert not wake.is_set()


def test_a_file_that_is_deleted_before_its_tokens_are_kept_is_the_users_error(local, store, pairs, monkeypatch):
    file_id = local.upload(pairs(3))
    keep = runner._Run._keep_tokens

    def late(run):
        store.delete_file(file_id)
        keep(run)

    monkeypatch.setattr(runner._Run, "_keep_tokens", late)
    job = local.train(training_file=file_id, training_method=DPO)
    assert (job["status"], job["events"][-1]["message"]) == ("user_error", f"The file {file_id} was deleted.")
