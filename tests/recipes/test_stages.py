import re
from types import MappingProxyType

import pytest

from preftune import DPO, SFT, JobConfig
from preftune.errors import ConfigError
from preftune.recipes.stages import dpo_stage, sft_stage


def refuses(message):
    return pytest.raises(ConfigError, match=f"^{re.escape(message)}$")


def test_what_is_not_said_is_the_stage_with_its_defaults():
    assert sft_stage(None, "m", evaluate=False) == JobConfig(model="m")
    assert dpo_stage(None, "m", evaluate=False) == JobConfig(model="m", training_method="dpo")


@pytest.mark.parametrize("form", [dict, JobConfig])
def test_fields_are_kept_and_model_and_files_are_the_recipes(form):
    given = form(n_epochs=2, model="other", training_file="file-1", validation_file="file-2")
    assert sft_stage(given, "m", evaluate=False) == JobConfig(model="m", n_epochs=2)
    assert dpo_stage(given, "m", evaluate=False) == JobConfig(model="m", n_epochs=2, training_method="dpo")


def test_a_checkpoint_to_start_from_is_the_recipes():
    expected = JobConfig(model="m", training_method="dpo")
    assert dpo_stage({"from_checkpoint": "ft-1"}, "m", evaluate=False) == expected
    given = JobConfig(from_checkpoint="ft-1", training_method="dpo")
    assert dpo_stage(given, "m", evaluate=False) == expected


def test_a_method_that_is_named_is_kept():
    method = DPO(dpo_beta=0.3)
    for given in ({"training_method": method}, {"dpo_beta": 0.3}, JobConfig(model="x", training_method=method)):
        assert dpo_stage(given, "m", evaluate=False).training_method == method
    assert sft_stage({"training_method": "sft"}, "m", evaluate=False).training_method == SFT()


def test_with_data_to_evaluate_on_a_preference_job_evaluates_as_often_as_stated_or_ten_times():
    assert dpo_stage(None, "m", evaluate=True).n_evals == 10
    assert dpo_stage({"n_evals": 3}, "m", evaluate=True).n_evals == 3
    assert dpo_stage({"n_evals": 0}, "m", evaluate=True).n_evals == 0
    assert sft_stage(None, "m", evaluate=True).n_evals == 0


def test_evaluations_without_data_are_refused():
    for stage, make in (("sft", sft_stage), ("dpo", dpo_stage)):
        with refuses(f"{stage}: n_evals is 2, but there is no validation data; give validation="):
            make({"n_evals": 2}, "m", evaluate=False)


@pytest.mark.parametrize("form", [dict, JobConfig])
def test_the_other_stages_method_is_refused(form):
    model = {"model": "x"} if form is JobConfig else {}
    with refuses("sft: expected a supervised configuration, found training_method 'dpo'; put it into dpo="):
        sft_stage(form(training_method="dpo", **model), "m", evaluate=False)
    with refuses("dpo: expected a preference configuration, found training_method 'sft'; put it into sft="):
        dpo_stage(form(training_method="sft", **model), "m", evaluate=False)


def test_fields_that_make_no_configuration_are_told_with_their_stage():
    with refuses("sft: n_epochs: must be from 1 to 20, found 0"):
        sft_stage({"n_epochs": 0}, "m", evaluate=False)
    with refuses("dpo: JobConfig has no field 'n_epohs'; did you mean 'n_epochs'?"):
        dpo_stage({"n_epohs": 1}, "m", evaluate=False)


@pytest.mark.parametrize("given", [DPO(dpo_beta=0.3), "dpo", ["n_epochs"], 3], ids=lambda given: type(given).__name__)
def test_what_is_neither_a_configuration_nor_fields_is_refused(given):
    for stage, make in (("sft", sft_stage), ("dpo", dpo_stage)):
        with refuses(f"{stage}: expected a JobConfig or its fields, found {type(given).__name__}; name the fields"):
            make(given, "m", evaluate=False)


def test_fields_may_be_any_mapping():
    assert sft_stage(MappingProxyType({"n_epochs": 2}), "m", evaluate=False) == JobConfig(model="m", n_epochs=2)
