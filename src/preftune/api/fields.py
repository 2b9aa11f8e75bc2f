"""The keywords of `create`, typed: the fields of `JobConfig` and its flat knobs. A test holds the two equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict, Unpack

from pydantic import ValidationError

from preftune.api.config import (
    DPO,
    SFT,
    CosineSchedule,
    FullFineTuning,
    JobConfig,
    LinearSchedule,
    LoRA,
    MultimodalParams,
    first_fault,
)
from preftune.errors import ConfigError


class JobFields(TypedDict, total=False):
    """The fields of a JobConfig, nested or flat."""

    model: str | None
    from_checkpoint: str | None
    training_file: str | None
    validation_file: str | None
    training_method: SFT | DPO | Literal["sft", "dpo"] | Mapping[str, Any]
    training_type: LoRA | FullFineTuning | Literal["Lora", "Full"] | Mapping[str, Any] | None
    train_on_inputs: bool | Literal["auto"] | None
    packing: bool
    max_seq_length: int | None
    n_epochs: int
    n_checkpoints: int
    n_evals: int
    batch_size: int | Literal["max"]
    gradient_accumulation_steps: int | None
    learning_rate: float
    lr_scheduler: LinearSchedule | CosineSchedule | Literal["linear", "cosine"] | Mapping[str, Any]
    warmup_ratio: float
    max_grad_norm: float
    weight_decay: float
    random_seed: int | None
    suffix: str | None
    early_stopping_enabled: bool
    early_stopping_patience: int
    early_stopping_min_delta: float
    early_stopping_warmup_evals: int
    multimodal_params: MultimodalParams | Mapping[str, Any] | None
    wandb_key: str | None
    wandb_base_url: str | None
    wandb_project_name: str | None
    wandb_name: str | None
    wandb_entity: str | None
    from_hf_model: str | None
    hf_model_revision: str | None
    hf_api_token: str | None
    hf_output_repo_name: str | None
    # flat knobs of the blocks
    dpo_beta: float
    dpo_normalize_logratios_by_length: bool
    dpo_reference_free: bool
    rpo_alpha: float
    simpo_gamma: float
    lora: bool
    lora_r: int | None
    lora_alpha: int | None
    lora_dropout: float
    lora_trainable_modules: str
    lr_scheduler_type: Literal["linear", "cosine"]
    min_lr_ratio: float
    num_cycles: float
    scheduler_num_cycles: float
    train_vision: bool
    wandb_api_key: str | None


def job_config(config: JobConfig | JobFields | None = None, /, **fields: Unpack[JobFields]) -> JobConfig:
    """Return the configuration that the arguments of `create` make. Raises ConfigError for none, or without a file."""
    if config is not None and fields:
        raise ConfigError(
            f"config: expected a JobConfig or keywords, found both ({', '.join(fields)}); use config.replace()"
        )
    try:
        config = config if isinstance(config, JobConfig) else JobConfig(**(config or fields))
    except ValidationError as error:
        raise ConfigError(f"config: {first_fault(error)}") from error
    if not config.training_file:
        raise ConfigError("config: training_file is missing; upload one: client.files.upload(path).id")
    return config
