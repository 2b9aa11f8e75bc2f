"""The two stages of preference tuning, supervised and preference: what a user says of one, made a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from pydantic import ValidationError

from preftune.api.config import DPO, SFT, JobConfig, first_fault
from preftune.api.fields import JobFields
from preftune.errors import ConfigError

StageFields: TypeAlias = JobConfig | JobFields | None
_FILLED = ("model", "from_checkpoint", "training_file", "validation_file")  # what the recipe itself fills in
_EVALS = 10  # evaluations of the DPO job when there is validation data and the configuration does not say


def sft_stage(given: StageFields, model: str, *, evaluate: bool) -> JobConfig:
    """Return the configuration of the supervised job; raise ConfigError for one that is none."""
    config = _config(given, model)
    if not isinstance(config.training_method, SFT):
        raise ConfigError("sft: expected a supervised configuration, found training_method 'dpo'; put it into dpo=")
    _refuse_blind_evals("sft", config, evaluate=evaluate)
    return config


def dpo_stage(given: StageFields, model: str, *, evaluate: bool) -> JobConfig:
    """Return the configuration of the preference job; with data to evaluate on it has evaluations."""
    config = _config(given, model, default_method=True)
    if not isinstance(config.training_method, DPO):
        raise ConfigError("dpo: expected a preference configuration, found training_method 'sft'; put it into sft=")
    if evaluate and "n_evals" not in config.model_fields_set:
        return config.replace(n_evals=_EVALS)
    _refuse_blind_evals("dpo", config, evaluate=evaluate)
    return config


def _refuse_blind_evals(stage: str, config: JobConfig, *, evaluate: bool) -> None:
    if config.n_evals and not evaluate:
        raise ConfigError(f"{stage}: n_evals is {config.n_evals}, but there is no validation data; give validation=")


def _config(given: StageFields, model: str, *, default_method: bool = False) -> JobConfig:
    """Return a stage's configuration with the recipe's model; a stage that names no method gets its own."""
    if isinstance(given, JobConfig):
        bare = given.replace(model=model, from_checkpoint=None, training_file=None, validation_file=None)
        named = "training_method" in given.model_fields_set
        return bare.replace(training_method=DPO()) if default_method and not named else bare
    if not isinstance(given, Mapping | None):
        stage = "dpo" if default_method else "sft"
        raise ConfigError(f"{stage}: expected a JobConfig or its fields, found {type(given).__name__}; name the fields")
    fields: Mapping[str, Any] = {name: value for name, value in (given or {}).items() if name not in _FILLED}
    method = {"training_method": "dpo"} if default_method and "training_method" not in fields else {}
    try:
        return JobConfig(**{**method, **fields, "model": model})
    except ValidationError as error:
        raise ConfigError(f"{'dpo' if default_method else 'sft'}: {first_fault(error)}") from error
