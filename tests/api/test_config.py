import json
import math
import typing
import warnings
from pathlib import Path

import pytest
from pydantic import ValidationError

from preftune.api.config import (
    DPO,
    FLAT,
    SFT,
    CosineSchedule,
    FullFineTuning,
    JobConfig,
    LinearSchedule,
    LoRA,
    MultimodalParams,
    first_fault,
    load_fields,
)
from preftune.api.fields import JobFields
from preftune.errors import ConfigError, ConfigWarning

SMALLEST = {
    "model": "m",
    "training_method": {"method": "sft", "train_on_inputs": "auto"},
    "packing": True,
    "n_epochs": 1,
    "n_checkpoints": 1,
    "n_evals": 0,
    "batch_size": "max",
    "learning_rate": 1e-5,
    "lr_scheduler": {"lr_scheduler_type": "cosine", "lr_scheduler_args": {"min_lr_ratio": 0.0, "num_cycles": 0.5}},
    "warmup_ratio": 0.0,
    "max_grad_norm": 1.0,
    "weight_decay": 0.0,
    "early_stopping_enabled": False,
}
EVERYTHING = {
    "from_checkpoint": "ft-1:40",
    "training_file": "file-t",
    "validation_file": "file-v",
    "training_method": {
        "method": "dpo",
        "dpo_beta": 0.2,
        "dpo_normalize_logratios_by_length": False,
        "dpo_reference_free": True,
        "rpo_alpha": 0.5,
    },
    "training_type": {
        "type": "Lora",
        "lora_r": 8,
        "lora_alpha": 16,
        "lora_dropout": 0.1,
        "lora_trainable_modules": "q_proj,v_proj",
    },
    "packing": False,
    "max_seq_length": 4096,
    "n_epochs": 3,
    "n_checkpoints": 2,
    "n_evals": 10,
    "batch_size": 16,
    "gradient_accumulation_steps": 2,
    "learning_rate": 1e-4,
    "lr_scheduler": {"lr_scheduler_type": "linear", "lr_scheduler_args": {"min_lr_ratio": 0.1}},
    "warmup_ratio": 0.05,
    "max_grad_norm": 0.0,
    "weight_decay": 0.01,
    "random_seed": 0,
    "suffix": "mine",
    "early_stopping_enabled": True,
    "early_stopping_patience": 3,
    "early_stopping_min_delta": 0.001,
    "early_stopping_warmup_evals": 0,
    "multimodal_params": {"train_vision": True},
    "wandb_key": "wandb-secret",
    "wandb_base_url": "https://wandb.example",
    "wandb_project_name": "p",
    "wandb_name": "n",
    "wandb_entity": "e",
    "hf_api_token": "hf-secret",
    "hf_output_repo_name": "me/mine",
}
FLAT_EVERYTHING = {
    name: value
    for name, value in EVERYTHING.items()
    if name not in ("training_type", "lr_scheduler", "training_method", "multimodal_params", "wandb_key")
} | {
    "training_method": "dpo",
    "dpo_beta": 0.2,
    "dpo_reference_free": True,
    "rpo_alpha": 0.5,
    "lora": True,
    "lora_r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.1,
    "lora_trainable_modules": "q_proj,v_proj",
    "lr_scheduler_type": "linear",
    "min_lr_ratio": 0.1,
    "train_vision": True,
    "wandb_api_key": "wandb-secret",
}


def sentence(**fields):
    """Return the one sentence that refuses a configuration."""
    with pytest.raises(ValidationError) as caught:
        JobConfig(**{"model": "m"} | fields)
    return first_fault(caught.value)


# what goes over the wire


def test_the_smallest_configuration_sends_the_documented_defaults():
    assert JobConfig(model="m").to_wire() == SMALLEST


def test_the_nested_form_of_the_wire_comes_out_as_it_went_in():
    assert JobConfig(**EVERYTHING).to_wire() == EVERYTHING


def test_flat_keywords_make_the_same_body_as_the_nested_form():
    assert JobConfig(**FLAT_EVERYTHING).to_wire() == EVERYTHING


def test_typed_blocks_make_the_same_body_as_the_nested_form():
    blocks = {
        "training_method": DPO(dpo_beta=0.2, dpo_reference_free=True, rpo_alpha=0.5),
        "training_type": LoRA(lora_r=8, lora_alpha=16, lora_dropout=0.1, lora_trainable_modules="q_proj,v_proj"),
        "lr_scheduler": LinearSchedule(min_lr_ratio=0.1),
        "multimodal_params": MultimodalParams(train_vision=True),
    }
    assert JobConfig(**EVERYTHING | blocks).to_wire() == EVERYTHING


def test_a_huggingface_model_is_sent_with_its_revision():
    body = JobConfig(model="m", from_hf_model="org/name", hf_model_revision="abc").to_wire()
    assert body == SMALLEST | {"from_hf_model": "org/name", "hf_model_revision": "abc"}


def test_simpo_carries_the_two_switches_that_it_implies():
    config = JobConfig(model="m", training_method=DPO(dpo_beta=2, simpo_gamma=1))
    assert config.to_wire()["training_method"] == {
        "method": "dpo",
        "dpo_beta": 2.0,
        "dpo_normalize_logratios_by_length": True,
        "dpo_reference_free": True,
        "simpo_gamma": 1.0,
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"training_type": "Full"}, FullFineTuning()),
        ({"training_type": "Lora"}, LoRA()),
        ({"lora": False}, FullFineTuning()),
        ({"lora": True}, LoRA()),
        ({"lora": None}, None),
        ({"lora_r": 4}, LoRA(lora_r=4)),
        ({"training_type": LoRA(lora_r=2), "lora_alpha": 3}, LoRA(lora_r=2, lora_alpha=3)),
        ({"training_type": {"type": "Lora", "lora_r": 2}, "lora_r": 4}, LoRA(lora_r=4)),
    ],
)
def test_every_spelling_of_the_training_type_is_understood(given, expected):
    assert JobConfig(model="m", **given).training_type == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"lr_scheduler": "linear"}, LinearSchedule()),
        ({"lr_scheduler_type": "linear"}, LinearSchedule()),
        ({"min_lr_ratio": 0.5}, CosineSchedule(min_lr_ratio=0.5)),
        ({"num_cycles": 2}, CosineSchedule(num_cycles=2)),
        ({"scheduler_num_cycles": 2}, CosineSchedule(num_cycles=2)),
        ({"lr_scheduler": {"lr_scheduler_type": "linear", "lr_scheduler_args": None}}, LinearSchedule()),
        ({"lr_scheduler": {"lr_scheduler_type": "cosine", "num_cycles": 3}}, CosineSchedule(num_cycles=3)),
    ],
)
def test_every_spelling_of_the_schedule_is_understood(given, expected):
    assert JobConfig(model="m", **given).lr_scheduler == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"training_method": "sft"}, SFT()),
        ({"train_on_inputs": True}, SFT(train_on_inputs=True)),
        ({"training_method": "sft", "train_on_inputs": False}, SFT(train_on_inputs=False)),
        ({"training_method": SFT(), "train_on_inputs": False}, SFT(train_on_inputs=False)),
        ({"training_method": DPO(dpo_beta=0.2), "rpo_alpha": 1}, DPO(dpo_beta=0.2, rpo_alpha=1)),
        ({"training_method": {"method": "dpo"}, "dpo_beta": 0.3}, DPO(dpo_beta=0.3)),
    ],
)
def test_every_spelling_of_the_method_is_understood(given, expected):
    assert JobConfig(model="m", **given).training_method == expected


def test_the_keywords_of_create_are_the_fields_and_their_flat_knobs():
    others = {"lora", "scheduler_num_cycles", "wandb_api_key"}
    assert set(typing.get_type_hints(JobFields)) == {*JobConfig.model_fields, *FLAT, *others}


# what is refused


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"n_epochs": 0}, "n_epochs"),
        ({"n_epochs": 21}, "n_epochs"),
        ({"n_epochs": 1.5}, "n_epochs"),
        ({"n_checkpoints": 0}, "n_checkpoints"),
        ({"n_evals": -1}, "n_evals"),
        ({"n_evals": 101}, "n_evals"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": "large"}, "batch_size"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": 0.011}, "learning_rate"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"warmup_ratio": 1.01}, "warmup_ratio"),
        ({"warmup_ratio": -0.01}, "warmup_ratio"),
        ({"max_grad_norm": -1}, "max_grad_norm"),
        ({"max_grad_norm": math.inf}, "max_grad_norm"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"random_seed": -1}, "random_seed"),
        ({"suffix": "x" * 65}, "suffix"),
        ({"max_seq_length": 0}, "max_seq_length"),
        ({"min_lr_ratio": 1.5}, "lr_scheduler.min_lr_ratio"),
        ({"num_cycles": 0}, "lr_scheduler.num_cycles"),
        ({"lr_scheduler": "step"}, "lr_scheduler"),
        ({"lora_r": 0}, "training_type.lora_r"),
        ({"lora_r": 65}, "training_type.lora_r"),
        ({"lora_alpha": 0}, "training_type.lora_alpha"),
        ({"lora_dropout": 1}, "training_type.lora_dropout"),
        ({"lora_dropout": -0.1}, "training_type.lora_dropout"),
        ({"training_type": "QLora"}, "training_type"),
        ({"training_type": 5, "lora_r": 4}, "training_type"),
        ({"training_method": "ppo"}, "training_method"),
        ({"training_method": 5, "dpo_beta": 0.1}, "training_method"),
        ({"train_on_inputs": "perhaps"}, "training_method.train_on_inputs"),
        ({"training_method": "dpo", "dpo_beta": 0}, "training_method.dpo_beta"),
        ({"training_method": "dpo", "dpo_beta": -3}, "training_method.dpo_beta"),
        ({"training_method": "dpo", "dpo_beta": math.nan}, "training_method.dpo_beta"),
        ({"training_method": "dpo", "dpo_beta": math.inf}, "training_method.dpo_beta"),
        ({"training_method": "dpo", "rpo_alpha": -1}, "training_method.rpo_alpha"),
        ({"training_method": "dpo", "simpo_gamma": -1}, "training_method.simpo_gamma"),
        ({"training_method": "dpo", "simpo_gamma": -math.inf}, "training_method.simpo_gamma"),
        ({"early_stopping_patience": 0}, "early_stopping_patience"),
        ({"early_stopping_min_delta": -1}, "early_stopping_min_delta"),
        ({"early_stopping_warmup_evals": -1}, "early_stopping_warmup_evals"),
    ],
)
def test_a_value_out_of_bounds_is_refused_at_its_field(fields, where):
    assert sentence(**fields).partition(":")[0] == where


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"model": None},
            "expected exactly one of model and from_checkpoint, found neither; a checkpoint brings its model along",
        ),
        (
            {"from_checkpoint": "ft-1"},
            "expected exactly one of model and from_checkpoint, found both; a checkpoint brings its model along",
        ),
        (
            {"model": None, "from_checkpoint": "ft-1", "from_hf_model": "a/b"},
            "from_hf_model and from_checkpoint exclude each other; keep one of them",
        ),
        (
            {"hf_model_revision": "abc"},
            "hf_model_revision needs from_hf_model; name the model, or drop the revision",
        ),
        (
            {"training_file": "f", "n_evals": 2},
            "n_evals is 2, but there is no validation_file to evaluate on; give one, or set n_evals to 0",
        ),
        (
            {"packing": False},
            "packing is False, but max_seq_length is not set; rows are padded to it, so give it",
        ),
        (
            {"early_stopping_enabled": True, "n_evals": 3},
            "early stopping needs 4 evaluations (patience + warm-up + 1), found n_evals=3",
        ),
        (
            {"early_stopping_enabled": True, "early_stopping_patience": 5, "n_evals": 6},
            "early stopping needs 7 evaluations (patience + warm-up + 1), found n_evals=6",
        ),
        (
            {"dpo_beta": 0.1},
            "dpo_beta is a knob of DPO, but training_method is 'sft'; say training_method='dpo'",
        ),
        (
            {"training_method": SFT(), "rpo_alpha": 0.1},
            "rpo_alpha is a knob of DPO, but training_method is 'sft'; say training_method='dpo'",
        ),
        ({"dpo_betta": 1}, "JobConfig has no field 'dpo_betta'; did you mean 'dpo_beta'?"),
        ({"epochs": 1}, "JobConfig has no field 'epochs'; did you mean 'n_epochs'?"),
        ({"lora_rank": 1}, "JobConfig has no field 'lora_rank'; did you mean 'lora_r'?"),
        (
            {"training_method": {"method": "dpo", "beta": 1}},
            "training_method: DPO has no field 'beta'; did you mean 'dpo_beta'?",
        ),
        (
            {"training_type": "Full", "lora_r": 1},
            "training_type: FullFineTuning has no field 'lora_r'; it has type",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_sentence(fields, expected):
    assert sentence(**fields) == expected


def test_early_stopping_with_evaluations_enough_is_taken():
    config = JobConfig(model="m", training_file="t", validation_file="v", early_stopping_enabled=True, n_evals=4)
    assert {name: value for name, value in config.to_wire().items() if name.startswith("early")} == {
        "early_stopping_enabled": True,
        "early_stopping_patience": 2,
        "early_stopping_min_delta": 0.0,
        "early_stopping_warmup_evals": 1,
    }


def test_a_key_that_is_like_no_field_is_answered_with_all_fields():
    assert sentence(zzz=1).startswith("JobConfig has no field 'zzz'; it has model, from_checkpoint, ")


def test_something_that_is_no_mapping_is_refused():
    with pytest.raises(ValidationError):
        JobConfig.model_validate(7)


def test_a_configuration_is_frozen():
    with pytest.raises(ValidationError):
        JobConfig(model="m").n_epochs = 2


# warnings


def caught(make):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        make()
    return [(str(warning.message), warning.category, Path(warning.filename).name) for warning in found]


@pytest.mark.parametrize(
    ("fields", "beginning"),
    [
        ({"dpo_beta": 0.01}, "dpo_beta is 0.01; plain DPO is useful from 0.05 to 0.9"),
        ({"dpo_beta": 5}, "dpo_beta is 5; plain DPO is useful from 0.05 to 0.9"),
        ({"dpo_normalize_logratios_by_length": True}, "dpo_beta is 0.1 with length normalisation"),
        ({"dpo_beta": 2, "simpo_gamma": 3}, "simpo_gamma / dpo_beta is 1.5"),
        ({"train_on_inputs": True}, "train_on_inputs is ignored by preference tuning"),
    ],
)
def test_a_warning_gives_its_reason_on_the_users_own_line(fields, beginning):
    ((message, category, file),) = caught(lambda: JobConfig(model="m", training_method="dpo", **fields))
    assert (message[: len(beginning)], category, file) == (beginning, ConfigWarning, "test_config.py")


def test_simpo_with_a_small_beta_is_warned_about_twice():
    found = caught(lambda: JobConfig(model="m", training_method=DPO(simpo_gamma=1)))
    assert [message.partition(";")[0].partition(":")[0] for message, *_ in found] == [
        "dpo_beta is 0.1 with SimPO",
        "simpo_gamma / dpo_beta is 10",
    ]


@pytest.mark.parametrize("fields", [{}, {"training_method": "dpo"}, {"train_on_inputs": True}])
def test_what_is_usual_is_not_warned_about(fields):
    assert caught(lambda: JobConfig(model="m", **fields)) == []


def test_a_warning_about_a_file_points_at_the_line_that_read_it(tmp_path):
    path = tmp_path / "job.json"
    path.write_text('{"model": "m", "training_method": "dpo", "dpo_beta": 7}')
    assert [file for *_, file in caught(lambda: JobConfig.from_file(path))] == ["test_config.py"]


def test_a_warning_without_any_user_code_still_has_a_place():
    code = "from preftune.api.config import JobConfig\nJobConfig(model='m', training_method='dpo', dpo_beta=7)"
    ((_, category, _),) = caught(lambda: exec(code, {"__name__": "preftune.entry"}))  # noqa: S102
    assert category is ConfigWarning


# secrets


SECRETS = {"wandb_key": "wandb-secret", "hf_api_token": "hf-secret"}


def test_no_secret_is_shown_by_a_configuration():
    config = JobConfig(model="m", n_epochs=2, **SECRETS)
    assert repr(config) == "JobConfig(model='m', n_epochs=2)"
    assert str(config) == "model='m' n_epochs=2"
    assert "-secret" not in config.explain()


@pytest.mark.parametrize("fault", [{"n_epochs": 0}, {"wrong": 1}, {"model": None}, {"training_method": 5}])
def test_no_secret_is_shown_by_a_refusal(fault, tmp_path):
    with pytest.raises(ValidationError) as refusal:
        JobConfig(**{"model": "m"} | SECRETS | fault)
    assert "-secret" not in str(refusal.value)
    path = tmp_path / "job.json"
    path.write_text(json.dumps({"model": "m"} | SECRETS | fault))
    with pytest.raises(ConfigError) as error:
        JobConfig.from_file(path)
    assert "-secret" not in f"{error.value}{error.value!r}{error.value.__cause__}"


def test_a_secret_of_the_wrong_type_is_not_shown():
    assert sentence(wandb_key=["wandb-secret"]) == "wandb_key: Input should be a valid string"


def test_the_secrets_are_sent():
    assert JobConfig(model="m", **SECRETS).to_wire() == SMALLEST | SECRETS


# copies


def test_replace_returns_a_checked_copy():
    config = JobConfig(model="m", training_method=DPO(dpo_beta=0.2))
    assert config.replace(rpo_alpha=1, n_epochs=2) == JobConfig(
        model="m", training_method=DPO(dpo_beta=0.2, rpo_alpha=1), n_epochs=2
    )
    assert config == JobConfig(model="m", training_method=DPO(dpo_beta=0.2))
    with pytest.raises(ValidationError):
        config.replace(n_epochs=0)


def test_replace_changes_the_kind_of_a_block():
    config = JobConfig(model="m", min_lr_ratio=0.1, lora_r=4)
    changed = config.replace(lr_scheduler_type="linear", lora=False, model=None, from_checkpoint="ft-1")
    assert changed == JobConfig(
        from_checkpoint="ft-1", lr_scheduler=LinearSchedule(min_lr_ratio=0.1), training_type=FullFineTuning()
    )


# files


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("job.json", json.dumps(EVERYTHING)),
        ("job.json", json.dumps(FLAT_EVERYTHING)),
        (
            "job.toml",
            "\n".join(f"{name} = {json.dumps(value)}" for name, value in FLAT_EVERYTHING.items() if value is not None),
        ),
    ],
)
def test_a_file_makes_the_same_body_as_keywords(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert JobConfig.from_file(str(path)).to_wire() == EVERYTHING


def test_tables_of_a_toml_file_are_blocks(tmp_path):
    path = tmp_path / "job.toml"
    path.write_text('model = "m"\n[training_method]\nmethod = "dpo"\ndpo_beta = 0.3\n')
    assert JobConfig.from_file(path) == JobConfig(model="m", training_method=DPO(dpo_beta=0.3))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("job.yaml", b"", "expected a .json or .toml file, found '.yaml'; rename it"),
        ("job", b"", "expected a .json or .toml file, found 'no extension'; rename it"),
        ("job.json", b"[1", "not JSON, Expecting ',' delimiter: line 1 column 3 (char 2); mend that place"),
        ("job.toml", b"=", "not TOML, Invalid statement (at line 1, column 1); mend that place"),
        (
            "job.json",
            b"\xff",
            "cannot be read, 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte; check the path",
        ),
        ("job.json", b"[]", "expected an object of fields, found list; write field: value"),
        ("job.json", b'{"model": "m", "learning_rate": NaN}', "learning_rate: must be a finite number, found nan"),
        ("job.json", b'{"model": "m", "epochs": 1}', "JobConfig has no field 'epochs'; did you mean 'n_epochs'?"),
    ],
)
def test_an_unfit_file_is_refused_by_name_and_place(tmp_path, name, text, expected):
    path = tmp_path / name
    path.write_bytes(text)
    with pytest.raises(ConfigError) as error:
        JobConfig.from_file(path)
    assert str(error.value) == f"{path}: {expected}"


@pytest.mark.parametrize(
    ("name", "text"), [("job.json", '{"n_epochs": 0, "any": [1]}'), ("job.toml", "n_epochs = 0\nany = [1]")]
)
def test_the_fields_of_a_file_are_given_as_they_stand_whether_or_not_they_make_a_job(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert load_fields(tmp_path / name) == {"n_epochs": 0, "any": [1]}


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read, No such file or directory; check the path"):
        JobConfig.from_file(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"n_epochs": 21}, "n_epochs: must be from 1 to 20, found 21"),
        ({"n_checkpoints": 0}, "n_checkpoints: must be 1 or more, found 0"),
        ({"batch_size": "MAX"}, "batch_size: must be 'max' or a whole number of at least 1, found 'MAX'"),
        ({"batch_size": True}, "batch_size: must be 'max' or a whole number of at least 1, found True"),
        ({"suffix": "x" * 65}, "suffix: must have at most 64 characters, found 65"),
        ({"lora_dropout": 1.0}, "training_type.lora_dropout: must be below 1, found 1.0"),
        ({"training_method": "DPO"}, "training_method: must be 'sft' or 'dpo', found 'DPO'"),
        ({"training_method": DPO}, "training_method: must be an object, found the class DPO; write DPO()"),
        ({"lr_scheduler": "step"}, "lr_scheduler: must be 'linear' or 'cosine', found 'step'"),
    ],
)
def test_a_refusal_says_what_was_expected_and_found(fields, expected):
    assert sentence(**fields) == expected


def test_none_is_the_default():
    fields = dict.fromkeys(["dpo_beta", "learning_rate", "warmup_ratio", "training_type", "lora", "suffix"])
    assert JobConfig(model="m", **fields) == JobConfig(model="m")


def test_train_on_inputs_in_a_dpo_block_is_warned_about_and_not_sent():
    with pytest.warns(ConfigWarning, match="train_on_inputs is ignored"):
        config = JobConfig(model="m", training_method={"method": "dpo", "train_on_inputs": True})
    assert "train_on_inputs" not in config.to_wire()["training_method"]


def test_replacing_does_not_warn_again_and_warns_of_what_is_new():
    with pytest.warns(ConfigWarning, match="dpo_beta is 0.01") as told:
        config = JobConfig(model="m", training_method="dpo", dpo_beta=0.01).replace(training_file="f")
    assert len(told) == 1
    with pytest.warns(ConfigWarning, match="dpo_beta is 2"):
        config.replace(dpo_beta=2)
