import pytest
from pydantic import ValidationError

from preftune.api.config import JobConfig
from preftune.api.fields import job_config
from preftune.errors import ConfigError

FIELDS = {"model": "m", "training_file": "t", "lora_r": 8, "training_method": "dpo", "dpo_beta": 0.2}
CONFIG = JobConfig(**FIELDS)


def test_a_configuration_is_taken_as_it_is():
    assert job_config(CONFIG) is CONFIG


@pytest.mark.parametrize(
    "made",
    [lambda: job_config(**FIELDS), lambda: job_config(FIELDS), lambda: job_config(CONFIG.to_wire())],
    ids=["keywords", "dict", "body"],
)
def test_keywords_a_dict_and_a_body_make_the_same_configuration(made):
    assert made().to_wire() == CONFIG.to_wire()


@pytest.mark.parametrize("config", [CONFIG, FIELDS], ids=["JobConfig", "dict"])
def test_a_configuration_and_keywords_exclude_each_other(config):
    with pytest.raises(ConfigError) as error:
        job_config(config, n_epochs=2, suffix="x")
    assert str(error.value) == (
        "config: expected a JobConfig or keywords, found both (n_epochs, suffix); use config.replace()"
    )


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [((JobConfig(model="m"),), {}), ((), {"model": "m"}), (({"model": "m", "training_file": ""},), {})],
)
def test_a_configuration_without_a_training_file_is_refused(arguments, fields):
    with pytest.raises(ConfigError) as error:
        job_config(*arguments, **fields)
    assert str(error.value) == "config: training_file is missing; upload one: client.files.upload(path).id"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"model": "m", "n_epoch": 1}, "config: JobConfig has no field 'n_epoch'; did you mean 'n_epochs'?"),
        (
            {},
            (
                "config: expected exactly one of model and from_checkpoint, found neither; "
                "a checkpoint brings its model along"
            ),
        ),
    ],
)
def test_what_makes_no_configuration_is_refused_in_one_sentence_with_its_cause(fields, sentence):
    with pytest.raises(ConfigError) as error:
        job_config(**fields)
    assert str(error.value) == sentence
    assert isinstance(error.value.__cause__, ValidationError)


def test_no_secret_is_in_a_refusal():
    with pytest.raises(ConfigError) as error:
        job_config(model="m", n_epochs=0, wandb_key="canary")
    assert "canary" not in str(error.value)
