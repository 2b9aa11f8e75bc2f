import json
import re
from unicodedata import east_asian_width

import pytest

from preftune import DPO
from preftune.recipes import folds

FEW = "expected at least 2 folds and twice as many different prompts"


@pytest.fixture
def pairs(write, good, monkeypatch):
    """Return the name of a file of a dozen pairs that are learned, and run the folds in this process."""
    monkeypatch.setattr(folds, "startable", lambda: False)
    return write(*[good(f"Where is {n}?", f"Sure, take shelf {n}.", f"Well, that shelf {n}.") for n in range(10, 22)])


def test_what_is_found_is_told_in_words(run, pairs):
    code, out, err = run("rehearse", pairs, "--folds", 2)
    assert (code, err) == (0, "")
    assert re.match(r"pairs\.jsonl: 12 pairs in \d+\.\d s, each judged by models that saw neither it", out)
    assert "  reward of the engine after preference tuning                    100.0%  ±4.2\n" in out
    assert max(map(len, out.splitlines())) <= 80


def test_numbers_are_told_as_json(run, pairs):
    code, out, err = run("rehearse", pairs, "--folds", 2, "--pairs", 8, "--json")
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert (told["pairs"], told["total"], told["folds"]) == (8, 12, 2)
    assert told["method"] == DPO().model_dump()


def test_the_knobs_are_those_of_the_job(run, pairs, monkeypatch):
    given = []
    monkeypatch.setattr("preftune.cli.rehearse.rehearse", lambda file, job, **options: given.append((job, options)))
    run("rehearse", pairs, "--beta", 2, "--normalize", "--reference-free", "--alpha", 0.5, "--gamma", 1, "--epochs", 2,
        "--learning-rate", 1e-4, "--max-seq-length", 512)  # fmt: skip
    run("rehearse", pairs, "--pairs", 9, "--folds", 4)
    ((knobs, _), (nothing, options)) = given
    assert knobs == {
        "dpo_beta": 2, "dpo_normalize_logratios_by_length": True, "dpo_reference_free": True, "rpo_alpha": 0.5,
        "simpo_gamma": 1, "n_epochs": 2, "learning_rate": 1e-4, "max_seq_length": 512,
    }  # fmt: skip
    assert nothing == {}
    assert (options["pairs"], options["folds"]) == (9, 4)


def test_knobs_are_respected(run, pairs):
    told = json.loads(run("rehearse", pairs, "--folds", 2, "--beta", 2, "--gamma", 0.5, "--epochs", 1, "--json")[1])
    assert told["method"] == DPO(dpo_beta=2, simpo_gamma=0.5).model_dump()


def test_a_configuration_stands_alone_and_its_advice_stays_quiet(run, pairs, folder):
    (folder / "job.toml").write_text('model = "m"\nn_epochs = 1\ntraining_method = {method = "dpo", dpo_beta = 5}\n')
    code, out, err = run("rehearse", pairs, "--folds", 2, "--config", "job.toml", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["method"] == DPO(dpo_beta=5).model_dump()


def test_a_configuration_needs_no_model_and_is_a_preference_job_unless_it_says(run, pairs, folder):
    (folder / "job.json").write_text('{"n_epochs": 1, "max_seq_length": 64}')
    code, out, err = run("rehearse", pairs, "--folds", 2, "--config", "job.json", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["method"] == DPO().model_dump()


def test_knobs_beside_a_configuration_are_refused(run, pairs):
    told = "--config: expected no other knobs beside it, found dpo_beta, n_epochs; write them into it"
    found = run("rehearse", pairs, "--config", "job.toml", "--beta", 1, "--epochs", 2)
    assert found == (2, "", f"preftune: {told}\n")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--beta", "-1"], "dpo: training_method.dpo_beta: must be greater than 0, found -1.0"),
        (["--beta", "nan"], "dpo: training_method.dpo_beta: must be a finite number, found nan"),
        (["--epochs", "0"], "dpo: n_epochs: must be from 1 to 20, found 0"),
        (["--max-seq-length", "0"], "dpo: max_seq_length: must be 1 or more, found 0"),
        (["--config", "absent.toml"], "absent.toml: cannot be read, No such file or directory; check the path"),
        (["--pairs", "3"], f"pairs.jsonl: {FEW}, found 3 prompts for 3 folds; take more pairs or fewer folds"),
    ],
)
def test_a_value_that_does_not_fit_is_one_sentence(run, pairs, options, told):
    assert run("rehearse", pairs, *options) == (2, "", f"preftune: {told}\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"n_epohs": 1}', "dpo: JobConfig has no field 'n_epohs'; did you mean 'n_epochs'?"),
        ('{"training_method": "ppo"}', "dpo: training_method: must be 'sft' or 'dpo', found 'ppo'"),
        ("[]", "job.json: expected an object of fields, found list; write field: value"),
    ],
)
def test_a_configuration_that_is_none_is_one_sentence(run, pairs, folder, text, told):
    (folder / "job.json").write_text(text)
    assert run("rehearse", pairs, "--config", "job.json") == (2, "", f"preftune: {told}\n")


def test_what_the_budget_leaves_out_and_cuts_is_told(run, write, pairs, good):
    write(*[good(f"Where is {n}?", f"Sure, take shelf {n}." * (1 + n // 10), "Well.") for n in range(12)],
          good("Where? " * 20))  # fmt: skip
    code, out, err = run("rehearse", pairs, "--folds", 2, "--epochs", 1, "--max-seq-length", 40)
    assert (code, err) == (0, "")
    assert out.splitlines()[2:4] == [
        "Left out: 1 (the budget leaves no answer behind the prompt).",
        "The budget cut an answer of 2 pairs short.",
    ]


def test_a_run_that_diverges_is_told_in_words_and_json(run, pairs):
    code, out, err = run("rehearse", pairs, "--folds", 2, "--beta", 1e308)
    assert (code, err) == (0, "")
    assert " ".join(out.split()).endswith(
        " margins are no finite numbers. Lower the rate, or the knob that is out of scale."
    )
    code, out, err = run("rehearse", pairs, "--folds", 2, "--beta", 1e308, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out, parse_constant=pytest.fail)
    assert (told["diverged"], told["margins"], told["judges"], told["knobs"]) == (True, None, [], None)


def test_a_misspelt_path_is_one_sentence(run, pairs):
    sentence = "pair.jsonl: expected a file, found nothing there; check the spelling and the current folder"
    assert run("rehearse", "pair.jsonl") == (2, "", f"preftune: {sentence}\n")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--pairs", "0"], "Invalid value for '--pairs': 0 is not in the range x>=1."),
        (["--folds", "1"], "Invalid value for '--folds': 1 is not in the range x>=2."),
        (["--alpha", "some"], "Invalid value for '--alpha': 'some' is not a valid float."),
        (["--epohcs", "2"], "No such option '--epohcs'. Did you mean '--epochs'?"),
    ],
)
def test_an_option_that_is_none_is_told_with_the_usage(run, pairs, options, told):
    code, out, err = run("rehearse", pairs, *options)
    assert (code, out) == (2, "")
    assert err.startswith("Usage: preftune rehearse ")
    assert err.endswith(f"{told}\n")


def test_a_choice_that_the_file_leaves_is_told_in_options(run, write):
    answers = {"prompt": "p", "response_0": "a", "response_1": "b", "better_response_id": 0, "safer_response_id": 1}
    told = "expected one label, found several in rows of pku; convert it first, with --label 'better' or 'safer'"
    assert run("rehearse", write(answers)) == (2, "", f"preftune: pairs.jsonl: {told}\n")


def test_help_tells_the_defaults(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run("rehearse", "--help")
    flat = " ".join(out.split())
    assert code == 0
    for told in ("[default: 0.1]", "[default: 3]", "[default: 1e-5]", "[default: 1000; x>=1]", "[default: 3; x>=2]"):
        assert told in flat


def test_a_terminal_is_told_how_far_it_is_and_its_80_columns_are_kept(terminal, plain, write, good):
    name = write(*[good(f"在哪里 {n}。" * 20, f"Sure, take {n}." * 9, f"也许吧 {n}。" * 20) for n in range(8)])
    code, shown = terminal("rehearse", name, "--folds", 2, "--epochs", 1)
    assert code == 0
    assert shown.startswith("\r1 of 2 folds\r2 of 2 folds\npairs.jsonl: 8 pairs in ")
    wide = [sum(2 if east_asian_width(char) in "WF" else 1 for char in line) for line in plain(shown).splitlines()]
    assert max(wide) <= 80
