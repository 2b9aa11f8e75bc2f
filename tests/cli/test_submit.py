import io
import json

import pytest

from preftune import JobConfig
from preftune.api.models import PriceEstimate
from preftune.cli.submit import _show
from preftune.recipes.submit import Proposal

MODEL = ("--model", "Qwen/Qwen3-8B")


@pytest.fixture
def pairs(tmp_path_factory):
    """Return two files of pairs."""
    from preftune.recipes.sample import write_sample

    return [str(path) for path in write_sample(tmp_path_factory.mktemp("sample"))]


@pytest.fixture(autouse=True)
def _local(preftune_environment, folder):
    """Have the local server answer."""


def test_the_job_is_asked_for_once_everything_has_been_shown(run, pairs, monkeypatch, preftune_client):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    code, out, err = run("submit", pairs[0], *MODEL, "--beta", "0.3", "--suffix", "one")
    assert code == 0
    shown = ["The hosted side would take this file", "z = 0.3 * (log[", "Price: about $", "Start this job? [y/N]"]
    assert [text in err for text in shown] == [True] * 4
    job = preftune_client.fine_tuning.retrieve(out.strip())
    assert (job.training_method["dpo_beta"], job.suffix) == (0.3, "one")
    assert err.endswith(f"look at it with: preftune watch {job.id}\n")
    assert run("show")[1].split()[1] == job.id


def test_nothing_is_started_without_a_yes(run, pairs, monkeypatch, preftune_client):
    before = len(preftune_client.fine_tuning.list())
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    code, out, err = run("submit", pairs[0], *MODEL)
    assert (code, out) == (130, "")
    assert err.endswith("preftune: not confirmed, so it was not done\n")
    assert len(preftune_client.fine_tuning.list()) == before


def test_a_job_just_like_one_of_the_last_day_is_told(run, pairs):
    first = run("submit", pairs[0], *MODEL, "--yes")[1].strip()
    again = run("submit", pairs[0], *MODEL, "--suffix", "another-name", "--yes")[2]
    assert f" UTC: {first}.\n" in again
    assert "Warning" not in run("submit", pairs[0], *MODEL, "--beta", "0.4", "--yes")[2]


def test_a_job_whose_answer_was_lost_is_told_too(run, pairs, monkeypatch):
    from preftune.recipes import submit

    told = submit.Asked("key", {}, at="2026-11-24T07:21:00.000+00:00")
    monkeypatch.setattr(submit, "asked_since", lambda *_: (yield from iter(())) or [told])
    err = run("submit", pairs[0], *MODEL, "--yes")[2]
    assert "just this at 2026-11-24T07:21 UTC: a job whose answer was lost.\n" in err


def test_options_are_laid_over_a_file_of_fields(run, pairs, folder, preftune_client):
    (folder / "job.toml").write_text(
        f'model = "m"\ntraining_file = "{pairs[0]}"\nvalidation_file = "{pairs[1]}"\nn_evals = 2\n'
        '[training_method]\nmethod = "dpo"\ndpo_beta = 0.2\n'
    )
    told = json.loads(run("submit", "--config", "job.toml", "--evals", "3", "--yes", "--json")[1])
    assert [*told] == ["version", "job", "checks", "price", "alike"]
    assert (told["job"]["n_evals"], told["job"]["training_method"]["dpo_beta"]) == (3, 0.2)
    assert [check["ok"] for check in told["checks"]] == [True, True]


@pytest.mark.parametrize("size", ["8", "max"])
def test_a_batch_has_a_size_or_the_largest(run, pairs, preftune_client, size):
    job = run("submit", pairs[0], *MODEL, "--batch-size", size, "--yes")[1].strip()
    assert preftune_client.fine_tuning.retrieve(job).batch_size in (8, 16)


def test_pairs_with_errors_are_never_sent(run, write, good, preftune_client):
    before = len(preftune_client.files.list())
    code, out, err = run("submit", write(good(), good(preferred_output=[])), *MODEL, "--yes")
    assert (code, out) == (2, "")
    assert err.startswith("preftune: pairs.jsonl:2: ")
    assert len(preftune_client.files.list()) == before


def test_supervised_rows_are_read_by_the_server(run, write, preftune_client):
    file = write(
        *({"messages": [{"role": "user", "content": f"Q{n}"}, {"role": "assistant", "content": "A"}]} for n in range(9))
    )
    job = run("submit", file, *MODEL, "--method", "sft", "--yes")[1].strip()
    uploaded = preftune_client.fine_tuning.retrieve(job).training_file
    assert run("submit", uploaded, *MODEL, "--method", "sft", "--suffix", "again", "--yes")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.jsonl", *MODEL], "none.jsonl: expected a file, found none; check the path, or give the id of"),
        ([*MODEL], "training_file: expected a file of this machine or its id on the server, found none; name it"),
        (["file-1"], "expected exactly one of model and from_checkpoint, found neither"),
        (["file-1", *MODEL, "--beta", "-1"], "training_method.dpo_beta: must be greater than 0, found -1.0"),
        (["file-1", *MODEL, "--config", "none.toml"], "none.toml: cannot be read, No such file or directory"),
        (["file-1", *MODEL, "--batch-size", "many"], "batch_size: "),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run, arguments, said):
    code, out, err = run("submit", *arguments, "--yes")
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_above_the_highest_price_nothing_is_created(run, pairs, preftune_client):
    before = len(preftune_client.fine_tuning.list())
    code, _, err = run("submit", pairs[0], *MODEL, "--max-price", "-1", "--yes")
    assert code == 2
    assert "max_price: expected at most $-1.00" in err
    assert len(preftune_client.fine_tuning.list()) == before


def test_a_price_that_is_unknown_says_why():
    assert Proposal(JobConfig(model="m"), (), PriceEstimate(), []).cost == "unknown (the server gave none)"
    price = PriceEstimate(estimated_total_price=3.0, estimation_available=False, unavailable_reason="no_tokens")
    assert Proposal(JobConfig(model="m"), (), price, []).cost == "unknown (no_tokens)"


def test_a_price_that_the_account_does_not_allow_is_told(capsys):
    _show(Proposal(JobConfig(model="m"), (), PriceEstimate(estimated_total_price=9.0, allowed_to_proceed=False), []))
    assert "The account does not allow this price" in capsys.readouterr().err


def test_prompts_that_stand_in_both_files_keep_the_job_from_being_asked_for(run, pairs):
    code, out, err = run("submit", pairs[0], "--validation", pairs[0], *MODEL, "--evals", "1", "--yes")
    assert (code, out) == (2, "")
    assert "the prompt stands in the validation file too; split by prompt: preftune split" in err


def test_answers_that_the_job_would_cut_are_told(run, pairs, folder):
    (folder / "short.toml").write_text('model = "m"\ntraining_method = "dpo"\nmax_seq_length = 32\n')
    assert "truncation" in run("submit", pairs[0], "--config", "short.toml", "--yes")[2]
