import json

import pytest


def test_knobs_are_explained_without_a_config_and_advice_is_given_once(run):
    code, out, err = run("explain", "--gamma", "1")
    assert (code, err) == (0, "")
    assert out.startswith("Preference tuning from the model; no reference is in the loss.\n")
    assert out.count("Advice: dpo_beta is 0.1 with SimPO") == 1


def test_a_config_is_explained_and_knobs_are_laid_over_it(run, folder):
    (folder / "job.toml").write_text('model = "m"\ntraining_method = "dpo"\ndpo_beta = 0.3\n')
    assert "z = 0.3 *" in run("explain", "--config", "job.toml")[1]
    assert "z = 0.5 *" in run("explain", "--config", "job.toml", "--beta", "0.5")[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--beta", "-1"], "preftune: training_method.dpo_beta: must be greater than 0"),
        (["--config", "job.toml"], "preftune: job.toml: n_epochs: must be from 1 to 20"),
    ],
)
def test_a_value_that_is_not_legal_is_named_with_its_place(run, folder, arguments, told):
    (folder / "job.toml").write_text('model = "m"\nn_epochs = 99\n')
    code, out, err = run("explain", *arguments)
    assert (code, out, err.startswith(told)) == (2, "", True)


def test_json_has_the_body_and_the_words(run):
    told = json.loads(run("explain", "--json")[1])
    assert (told["version"], told["config"]["training_method"]["dpo_beta"]) == (1, 0.1)
    assert told["explanation"].startswith("Preference tuning")
