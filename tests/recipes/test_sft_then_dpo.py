import asyncio
import json

import httpx
import pytest

import preftune as pt
from preftune.errors import ConfigError, DataError

WORDS = ("red", "blue", "green", "plain", "round", "small", "large", "quick")


def write_pairs(path, count, start=0):
    """Write pairs whose chosen answers are of one kind and whose rejected answers are of another."""
    rows = [
        {
            "input": {"messages": [{"role": "user", "content": f"Which {WORDS[i % 8]} one, number {i}?"}]},
            "preferred_output": [{"role": "assistant", "content": f"Take the {WORDS[(i * 7) % 8]} one on shelf {i}."}],
            "non_preferred_output": [{"role": "assistant", "content": f"Well, {WORDS[(i * 5) % 8]} may depend, {i}."}],
        }
        for i in range(start, start + count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def data(tmp_path):
    return write_pairs(tmp_path / "pairs.jsonl", 24)


@pytest.fixture
def held_out(tmp_path):
    return write_pairs(tmp_path / "heldout.jsonl", 12, start=100)


def test_dpo_goes_on_from_the_supervised_checkpoint(preftune_client, data):
    done = pt.sft_then_dpo(preftune_client, data, model="some/model", sft={"suffix": "one"}, dpo={"dpo_beta": 0.3})
    assert done.report.pairs == 24
    assert (done.sft_job.status, done.dpo_job.status) == ("completed", "completed")
    assert done.dpo_job.from_checkpoint == done.sft_job.id
    assert done.dpo_job.training_method["dpo_beta"] == 0.3
    assert (done.sft_job.model, done.dpo_job.model) == ("some/model", "some/model")


def test_rows_of_both_jobs_are_handed_over_as_they_come(preftune_client, data, held_out):
    seen = []
    pt.sft_then_dpo(
        preftune_client, data, model="m", validation=held_out, sft={"n_evals": 1}, on_row=lambda *row: seen.append(row)
    )
    keys = [(stage, row.step, row.split) for stage, row in seen]
    assert keys == [
        ("sft", 1, "train"), ("sft", 2, "train"), ("sft", 2, "eval"),
        ("dpo", 1, "train"), ("dpo", 1, "eval"), ("dpo", 2, "train"), ("dpo", 2, "eval"),
    ]  # fmt: skip


def test_the_asynchronous_client_does_the_same(preftune_server, data):
    async def run():
        async with pt.AsyncClient(base_url=preftune_server.url, api_key=preftune_server.api_key) as client:
            return await pt.sft_then_dpo(client, data, model="m")

    assert asyncio.run(run()).dpo_job.status == "completed"


def test_configurations_may_be_whole_and_keep_all_but_model_and_files(preftune_client, data):
    done = pt.sft_then_dpo(
        preftune_client,
        data,
        model="m",
        sft=pt.JobConfig(model="other", n_epochs=2),
        dpo=pt.JobConfig(model="other", random_seed=5),
    )
    assert (done.sft_job.model, done.sft_job.n_epochs) == ("m", 2)
    assert (done.dpo_job.model, done.dpo_job.random_seed) == ("m", 5)
    assert done.dpo_job.training_method["method"] == "dpo"


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        ({"sft": {"training_method": "dpo"}}, "sft: expected a supervised configuration, found training_method 'dpo'"),
        ({"dpo": {"training_method": "sft"}}, "dpo: expected a preference configuration, found training_method 'sft'"),
        ({"dpo": {"n_evals": 3}}, "dpo: n_evals is 3, but there is no validation data"),
        ({"sft": {"n_evals": 2}}, "sft: n_evals is 2, but there is no validation data"),
    ],
)
def test_a_configuration_in_the_wrong_place_is_refused_before_anything_is_sent(data, stages, sentence):
    client = pt.Client(api_key="k", base_url="http://127.0.0.1:1")
    with pytest.raises(ConfigError, match=sentence):
        pt.sft_then_dpo(client, data, model="m", **stages)


@pytest.mark.parametrize("which", ["training", "validation"])
def test_unfit_data_is_refused_before_anything_is_sent(data, tmp_path, which):
    bad = tmp_path / "bad.jsonl"
    bad.write_text(data.read_text() + "{}\n")
    client = pt.Client(api_key="k", base_url="http://127.0.0.1:1")
    files = {"data": bad} if which == "training" else {"data": data, "validation": bad}
    with pytest.raises(DataError, match=r"bad.jsonl:25: input is missing"):
        pt.sft_then_dpo(client, model="m", **files)


def test_what_the_recipe_fills_in_is_filled_in_whatever_the_form(preftune_client, data):
    filled = {"from_checkpoint": "ft-old", "validation_file": "file-old", "model": "other"}
    assert pt.sft_then_dpo(preftune_client, data, model="m", dpo=filled).dpo_job.status == "completed"


def test_fields_that_make_no_configuration_are_refused_with_their_stage(data):
    client = pt.Client(api_key="k", base_url="http://127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"dpo: training_method.dpo_beta: must be greater than 0, found -1.0"):
        pt.sft_then_dpo(client, data, model="m", dpo={"dpo_beta": -1})


def test_every_file_is_taken_before_the_first_job_is_paid_for(preftune_server, data, held_out):
    asked = []
    mine = httpx.Client(event_hooks={"request": [lambda request: asked.append((request.method, request.url.path))]})
    with pt.Client(base_url=preftune_server.url, api_key=preftune_server.api_key, http_client=mine) as client:
        pt.sft_then_dpo(client, data, model="m", validation=held_out)
    posts = [path for method, path in asked if method == "POST"]
    assert posts.count("/v1/fine-tunes") == 2
    assert "/v1/files" not in posts[posts.index("/v1/fine-tunes") :]
