"""The official client, unpatched, sync and async, against the local server."""

import asyncio
import importlib.util
import inspect
import json
import uuid
from operator import attrgetter

import httpx
import pytest

if importlib.util.find_spec("together") is None:
    pytest.skip("the official client is not in this environment: make peers", allow_module_level=True)

import together
from together import AsyncTogether, Together

import preftune as pt

ZSTD = b"\x28\xb5\x2f\xfd"
MODEL = "Qwen/Qwen3-8B"


class Ask:
    """Calls a method of either client by its name; what is awaitable is awaited."""

    def __init__(self, client, runner):
        self._client, self._runner = client, runner

    def __call__(self, name, *args, **kwargs):
        return self.done(attrgetter(name)(self._client)(*args, **kwargs))

    def done(self, found):
        async def awaited():
            return await found

        return self._runner.run(awaited()) if inspect.isawaitable(found) else found


@pytest.fixture(params=[AsyncTogether, Together], ids=["async", "sync"])
def ask(request, preftune_server, monkeypatch):
    monkeypatch.setenv("TOGETHER_TELEMETRY_DISABLED", "1")
    client = request.param(api_key=preftune_server.api_key, base_url=preftune_server.url)
    with asyncio.Runner() as runner:
        ask = Ask(client, runner)
        yield ask
        ask("close")


@pytest.fixture
def pairs(tmp_path):
    """Return a file of pairs that no other test has."""
    own = uuid.uuid4().hex
    rows = [
        {
            "input": {"messages": [{"role": "user", "content": f"question {i} {own}"}]},
            "preferred_output": [{"role": "assistant", "content": f"a direct answer, {i}"}],
            "non_preferred_output": [{"role": "assistant", "content": f"perhaps later {i}"}],
        }
        for i in range(32)
    ]
    return written(tmp_path / "pairs.jsonl", rows)


@pytest.fixture
def chats(tmp_path):
    own = uuid.uuid4().hex
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"question {i} {own}"},
                {"role": "assistant", "content": f"a direct answer, {i}"},
            ]
        }
        for i in range(32)
    ]
    return written(tmp_path / "chats.jsonl", rows)


@pytest.fixture
def uploaded(ask, preftune_client):
    """Return a function that uploads a file with the official client and waits until it is read."""
    return lambda path: preftune_client.files.wait(ask("files.upload", file=path).id, timeout=60).id


@pytest.fixture
def finished(preftune_client):
    return lambda job: preftune_client.fine_tuning.wait(job.id, timeout=60, poll_interval=0.02)


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_it_uploads_trains_with_dpo_reads_metrics_and_downloads(ask, uploaded, finished, pairs):
    file = uploaded(pairs)
    job = ask(
        "fine_tuning.create", training_file=file, model=MODEL, training_method="dpo", dpo_beta=0.2, n_epochs=2,
        n_checkpoints=2, lora=True,
    )  # fmt: skip
    finished(job)
    assert ask("fine_tuning.retrieve", job.id).status == "completed"
    assert job.id in [one.id for one in ask("fine_tuning.list").data]

    rows = ask("fine_tuning.list_metrics", job.id).metrics
    assert [row["train/global_step"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["train/reward/accuracy"] == 0
    assert rows[0]["train/approx. KL/chosen"] == 0
    events = [event.type for event in ask("fine_tuning.list_events", job.id).data]
    assert events[0] == "job_pending"
    assert events[-1] == "job_complete"
    checkpoints = ask("fine_tuning.list_checkpoints", job.id).data
    assert [point.checkpoint_type for point in checkpoints] == [
        "Final Merged",
        "Final Adapter",
        "Intermediate (step 2)",
    ]
    content = ask("fine_tuning.content", ft_id=job.id, checkpoint="adapter")
    assert ask.done(content.read())[:4] == ZSTD


def test_a_file_uploaded_twice_is_one_file_that_is_listed_retrieved_and_read_back(ask, uploaded, pairs):
    file_id = uploaded(pairs)
    assert ask("files.upload", file=pairs, purpose="fine-tune").id == file_id
    file = ask("files.retrieve", file_id)
    assert (file.id, file.filename, file.bytes) == (file_id, "pairs.jsonl", pairs.stat().st_size)
    assert (file.purpose, file.file_type, file.object) == ("fine-tune", "jsonl", "file")
    assert file.processing_status == "COMPLETED"
    assert (file.validation_report.valid, file.validation_report.nlines) == (True, 32)
    assert [one.id for one in ask("files.list").data].count(file_id) == 1
    assert ask.done(ask("files.content", file_id).read()) == pairs.read_bytes()


def test_a_file_uploaded_twice_is_an_exception_for_those_who_ask_for_one(ask, uploaded, pairs):
    file_id = uploaded(pairs)
    with pytest.raises(Exception, match=file_id) as raised:
        ask("files.upload", file=pairs, raise_if_already_exists=True)
    assert type(raised.value).__name__ == "FileAlreadyExistsError"


def test_a_file_comes_in_parts_and_a_second_time_is_the_same_file(ask, preftune_server, uploaded, pairs, monkeypatch):
    from together.lib.resources import files

    monkeypatch.setattr(files, "MULTIPART_THRESHOLD_GB", 0)
    monkeypatch.setattr(files, "MIN_PART_SIZE_MB", 0)
    monkeypatch.setattr(files, "TARGET_PART_SIZE_MB", 1 / 1024)
    file_id = uploaded(pairs)
    parts = [r for r in preftune_server.requests if f"/parts/upload-{file_id.removeprefix('file-')}/" in r.path]
    assert len(parts) == -(-pairs.stat().st_size // 1024)
    assert ask("files.upload", file=pairs).id == file_id
    assert ask.done(ask("files.content", file_id).read()) == pairs.read_bytes()
    assert ask("files.retrieve", file_id).processing_status == "COMPLETED"


def test_dpo_goes_on_from_the_job_the_step_and_the_output_name_of_sft(ask, uploaded, finished, chats, pairs):
    sft = ask(
        "fine_tuning.create", training_file=uploaded(chats), model=MODEL, training_method="sft", n_epochs=2,
        n_checkpoints=2, learning_rate=1e-4, lora=True,
    )  # fmt: skip
    name = finished(sft).model_output_name
    file = uploaded(pairs)
    for address in (sft.id, f"{sft.id}:2", name, f"{name}:2"):
        job = ask(
            "fine_tuning.create", training_file=file, from_checkpoint=address, training_method="dpo", dpo_beta=0.3,
            simpo_gamma=0.5, rpo_alpha=0.1, lora=True,
        )  # fmt: skip
        finished(job)
        found = ask("fine_tuning.retrieve", job.id)
        assert (found.status, found.from_checkpoint, found.model) == ("completed", address, MODEL)
        method = found.training_method
        assert (method.method, method.dpo_beta, method.simpo_gamma, method.rpo_alpha) == ("dpo", 0.3, 0.5, 0.1)


def test_every_knob_of_create_comes_back_in_the_job(ask, uploaded, pairs, chats, finished):
    file = uploaded(pairs)
    job = ask(
        "fine_tuning.create", training_file=file, validation_file=file, model=MODEL, training_method="dpo",
        n_epochs=3, n_evals=3, n_checkpoints=1, batch_size=8, learning_rate=2e-5, lr_scheduler_type="linear",
        min_lr_ratio=0.1, warmup_ratio=0.2, max_grad_norm=0.5, weight_decay=0.01, lora=True, lora_r=4, lora_alpha=8,
        suffix="knobs", random_seed=3, max_seq_length=512, early_stopping_enabled=True, early_stopping_patience=1,
        early_stopping_warmup_evals=1, early_stopping_min_delta=0.0,
    )  # fmt: skip
    finished(job)
    found = ask("fine_tuning.retrieve", job.id)
    assert (found.training_file, found.validation_file, found.batch_size) == (file, file, 8)
    assert (found.n_epochs, found.n_evals, found.n_checkpoints) == (3, 3, 1)
    assert (found.learning_rate, found.warmup_ratio, found.max_grad_norm) == (2e-5, 0.2, 0.5)
    assert (found.weight_decay, found.suffix, found.random_seed) == (0.01, "knobs", 3)
    assert found.lr_scheduler.lr_scheduler_type == "linear"
    assert found.lr_scheduler.lr_scheduler_args.min_lr_ratio == 0.1
    assert (found.training_type.type, found.training_type.lora_r, found.training_type.lora_alpha) == ("Lora", 4, 8)
    assert len([row for row in ask("fine_tuning.list_metrics", job.id).metrics if "eval/loss" in row]) >= 1


def test_full_tuning_has_one_final_model_to_download(ask, uploaded, finished, pairs):
    job = ask(
        "fine_tuning.create", training_file=uploaded(pairs), model=MODEL, training_method="dpo", n_checkpoints=2,
        n_epochs=2, lora=False,
    )  # fmt: skip
    finished(job)
    assert [point.checkpoint_type for point in ask("fine_tuning.list_checkpoints", job.id).data] == [
        "Final",
        "Intermediate (step 2)",
    ]
    final = ask("fine_tuning.content", ft_id=job.id, checkpoint="model_output_path")
    between = ask("fine_tuning.content", ft_id=job.id, checkpoint_step=2)
    assert [ask.done(content.read())[:4] for content in (final, between)] == [ZSTD, ZSTD]


def test_limits_are_told_of_a_model_and_of_a_job(ask, preftune_job):
    limits = ask("fine_tuning.model_limits", model_name=MODEL)
    assert (limits.model_name, limits.max_num_epochs, limits.max_num_evals) == (MODEL, 20, 100)
    assert (limits.supports_vision, limits.merge_output_lora) == (False, True)
    assert (limits.lora_training.max_rank, limits.lora_training.min_batch_size) == (64, 1)
    assert limits.full_training.max_batch_size == limits.full_training.max_batch_size_dpo == 16
    assert ask("fine_tuning.model_limits", model_name=preftune_job.id).model_name == preftune_job.id


def test_a_price_is_nothing_once_the_file_is_read(ask, uploaded, pairs):
    price = ask("fine_tuning.estimate_price", training_file=uploaded(pairs), model=MODEL, n_epochs=2)
    assert (price.estimation_available, price.allowed_to_proceed, price.estimated_total_price) == (True, True, 0)
    assert price.estimated_train_token_count == 2 * pairs.stat().st_size


def test_a_price_of_a_file_that_is_unfit_is_not_there_and_says_why(ask, preftune_client, tmp_path):
    path = written(tmp_path / "unfit.jsonl", [{"messages": [], "own": uuid.uuid4().hex}])
    file = ask("files.upload", file=path, check=False)
    with pytest.raises(pt.errors.PreftuneError):
        preftune_client.files.wait(file.id, timeout=60)
    price = ask("fine_tuning.estimate_price", training_file=file.id, model=MODEL)
    assert (price.estimation_available, price.unavailable_reason) == (False, "train_file_invalid")


def test_a_preview_shows_the_first_rows_as_tokens(ask, uploaded, chats):
    file = uploaded(chats)
    seen = ask("fine_tuning.preview", model=MODEL, training_file=file, top_k=2)
    assert (seen.dataset_format, seen.model, seen.train_on_inputs, len(seen.rows)) == ("conversation", MODEL, False, 2)
    row = seen.rows[0]
    assert row.num_tokens == len(row.input_ids) == len(row.labels) == len(row.tokens)
    [(start, end)] = row.trained_spans
    assert row.num_trained_tokens == end - start == len("a direct answer, 0") + 1
    assert "".join(row.tokens[start : end - 1]) == "a direct answer, 0"
    learned = ask("fine_tuning.preview", model=MODEL, training_file=file, train_on_inputs=True).rows
    assert len(learned) == 5
    assert learned[0].num_trained_tokens > row.num_trained_tokens


def test_every_filter_of_metrics_bounds_the_rows_and_both_ends_are_in(ask, preftune_job):
    def steps(**filters):
        rows = ask("fine_tuning.list_metrics", preftune_job.id, **filters).metrics
        return [(int(row["train/global_step"]), "eval" if "eval/loss" in row else "train") for row in rows]

    whole = [(1, "train"), (2, "train"), (2, "eval"), (3, "train"), (4, "train"), (4, "eval")]
    assert steps() == whole
    assert steps(global_step_from=2) == whole[1:]
    assert steps(global_step_to=2) == whole[:3]
    assert steps(global_step_from=2, global_step_to=3) == whole[1:4]
    assert steps(global_step_from=9) == []
    assert steps(resolution=1) == [(1, "train"), (2, "eval"), (4, "eval")]
    assert steps(resolution=50) == whole
    begin, end = preftune_job.created_at, ask("fine_tuning.retrieve", preftune_job.id).updated_at
    assert steps(logged_at_from=begin, logged_at_to=end) == whole
    assert steps(logged_at_from=begin.isoformat(), logged_at_to=end.isoformat()) == whole
    assert steps(logged_at_to=begin) == steps(logged_at_from=end) == []


def test_events_and_checkpoints_of_a_finished_job_are_all_there(ask, preftune_job):
    events = ask("fine_tuning.list_events", preftune_job.id).data
    assert [event.type for event in events][:2] == ["job_pending", "job_start"]
    assert [event.type for event in events][-2:] == ["model_upload_complete", "job_complete"]
    assert {"training_start", "epoch_complete", "checkpoint_save", "training_complete"} < {e.type for e in events}
    assert {event.object for event in events} == {"fine-tune-event"}
    assert [event.created_at for event in events] == sorted(event.created_at for event in events)
    points = ask("fine_tuning.list_checkpoints", preftune_job.id).data
    assert [(point.step, point.checkpoint_type) for point in points] == [
        (4, "Final Merged"),
        (4, "Final Adapter"),
        (2, "Intermediate (step 2)"),
    ]
    assert [event.type for event in ask("fine_tuning.retrieve", preftune_job.id).events] == [e.type for e in events]


def test_adapter_merged_model_and_intermediate_step_are_archives_of_their_own(ask, preftune_job):
    asked = [{"checkpoint": "adapter"}, {"checkpoint": "merged"}, {"checkpoint_step": 2}]
    found = [ask.done(ask("fine_tuning.content", ft_id=preftune_job.id, **one).read()) for one in asked]
    assert [content[:4] for content in found] == [ZSTD] * 3
    assert len({*found}) == 3


def test_a_checkpoint_step_decides_over_the_kind_of_checkpoint(ask, preftune_job):
    alone = ask("fine_tuning.content", ft_id=preftune_job.id, checkpoint_step=2)
    beside = ask("fine_tuning.content", ft_id=preftune_job.id, checkpoint="merged", checkpoint_step=2)
    assert ask.done(beside.read()) == ask.done(alone.read())


def test_the_tokenized_data_set_is_taken_from_its_address_without_a_key(ask, preftune_job):
    found = ask("fine_tuning.retrieve_tokenized_dataset", preftune_job.id)
    content = httpx.get(found.url).raise_for_status().content
    assert (len(content), content[:4]) == (found.size, ZSTD)
    assert found.filename == f"{preftune_job.id}_tokenized_datasets.tar.zst"


def test_it_cancels_and_deletes_a_job_and_a_file_and_they_are_gone(ask, uploaded, preftune_client, pairs):
    file = uploaded(pairs)
    job = ask(
        "fine_tuning.create", training_file=file, model=MODEL, training_method="dpo", n_epochs=20, batch_size=1,
        lora=True,
    )  # fmt: skip
    assert ask("fine_tuning.cancel", job.id).status == "cancel_requested"
    with pytest.raises(pt.errors.JobFailedError, match="cancelled"):
        preftune_client.fine_tuning.wait(job.id, timeout=60, poll_interval=0.02)
    with pytest.raises(together.BadRequestError, match="is cancelled and cannot be cancelled"):
        ask("fine_tuning.cancel", job.id)
    assert ask("fine_tuning.delete", job.id).message == "Fine-tune job deleted successfully"
    assert job.id not in [one.id for one in ask("fine_tuning.list").data]
    deleted = ask("files.delete", file)
    assert (deleted.id, deleted.deleted) == (file, True)
    assert file not in [one.id for one in ask("files.list").data]
    for name, gone in (("fine_tuning.retrieve", job.id), ("files.retrieve", file)):
        with pytest.raises(together.NotFoundError, match=f"there is no .* {gone}"):
            ask(name, gone)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("files.content", {"id": "file-none"}),
        ("files.delete", {"id": "file-none"}),
        ("files.retrieve", {"id": "file-none"}),
        ("fine_tuning.cancel", {"id": "ft-none"}),
        ("fine_tuning.content", {"ft_id": "ft-none"}),
        ("fine_tuning.delete", {"id": "ft-none"}),
        ("fine_tuning.list_checkpoints", {"id": "ft-none"}),
        ("fine_tuning.list_events", {"id": "ft-none"}),
        ("fine_tuning.list_metrics", {"id": "ft-none"}),
        ("fine_tuning.retrieve", {"id": "ft-none"}),
        ("fine_tuning.retrieve_tokenized_dataset", {"id": "ft-none"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_there_is_its_not_found_error(ask, name, asked):
    with pytest.raises(together.NotFoundError) as raised:
        ask(name, **asked)
    assert raised.value.status_code == 404
    assert raised.value.body["error"]["type"] == "not_found_error"
    assert next(iter(asked.values())) in raised.value.body["error"]["message"]


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"dpo_beta": -3.0}, "dpo_beta"),
        ({"learning_rate": 100.0}, "learning_rate"),
        ({"n_checkpoints": 1000}, "n_checkpoints"),
        ({"n_epochs": 1000}, "n_epochs"),
        ({"suffix": "s" * 1000}, "suffix"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_client_lets_pass_is_its_bad_request_error(ask, uploaded, pairs, changed, param):
    asked = {"training_file": uploaded(pairs), "model": MODEL, "training_method": "dpo", "lora": True} | changed
    with pytest.raises(together.BadRequestError) as raised:
        ask("fine_tuning.create", **asked)
    assert raised.value.body["error"]["type"] == "invalid_request_error"
    assert param in raised.value.body["error"]["message"]


def test_an_unknown_file_or_parent_is_its_bad_request_error(ask, uploaded, pairs):
    with pytest.raises(together.BadRequestError, match="there is no file file-none"):
        ask("fine_tuning.create", training_file="file-none", model=MODEL, training_method="dpo", lora=True)
    with pytest.raises(together.BadRequestError, match="there is no job or model ft-none"):
        ask(
            "fine_tuning.create", training_file=uploaded(pairs), from_checkpoint="ft-none", training_method="dpo",
            lora=True,
        )  # fmt: skip


@pytest.mark.parametrize("kind", [AsyncTogether, Together], ids=["async", "sync"])
def test_a_wrong_key_is_its_authentication_error(kind, preftune_server):
    with asyncio.Runner() as runner:
        ask = Ask(kind(api_key="wrong", base_url=preftune_server.url), runner)
        with pytest.raises(together.AuthenticationError, match="the API key is missing or wrong"):
            ask("fine_tuning.list")
        ask("close")
