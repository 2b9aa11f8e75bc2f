import json

import pytest

from preftune import Client, LocalServer, check
from preftune.recipes.sample import MODEL, train_sample, write_sample


def prompts(path):
    return [json.loads(line)["input"]["messages"][0]["content"] for line in path.read_text().splitlines()]


def test_the_sample_is_forty_good_pairs_of_which_eight_are_held_out(tmp_path):
    train, held_out = write_sample(tmp_path)
    assert (train, held_out) == (tmp_path / "train.jsonl", tmp_path / "validation.jsonl")
    assert (len(prompts(train)), len(prompts(held_out))) == (32, 8)
    assert len({*prompts(train), *prompts(held_out)}) == 40
    assert [check(path).ok for path in (train, held_out)] == [True, True]


def test_the_sample_is_the_same_every_time(tmp_path):
    written = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        written.append([path.read_bytes() for path in write_sample(tmp_path / name)])
    assert written[0] == written[1]


@pytest.mark.slow
def test_the_job_of_the_sample_is_finished_and_has_two_evaluations_and_two_checkpoints(tmp_path):
    with LocalServer() as server, Client(base_url=server.url, api_key=server.api_key, state_dir="") as client:
        job = train_sample(client, tmp_path)
        rows = client.fine_tuning.list_metrics(job)
        steps = [checkpoint.step for checkpoint in client.fine_tuning.list_checkpoints(job)]
        again = client.fine_tuning.list_metrics(train_sample(client, tmp_path))
    asked = (job.model, job.n_epochs, job.n_evals, job.n_checkpoints, job.batch_size, job.random_seed)
    assert (job.status, asked) == ("completed", (MODEL, 2, 2, 2, 16, 7))
    assert [(row.step, row.split) for row in rows] == [
        (1, "train"), (2, "train"), (2, "eval"), (3, "train"), (4, "train"), (4, "eval"),
    ]  # fmt: skip
    assert sorted(set(steps)) == [2, 4]
    assert [(row.key, row.loss, row.margin) for row in again] == [(row.key, row.loss, row.margin) for row in rows]
