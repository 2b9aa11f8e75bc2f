"""What a job's configuration asks of the engine: the settings of its training, and what of the model is trained."""

from __future__ import annotations

from preftune.api.config import CosineSchedule, FullFineTuning, JobConfig, LoRA
from preftune.local import limits
from preftune.local.engine.parameters import Full, LowRank, Parameters, Weights
from preftune.local.engine.train import EarlyStopping, Settings


def settings_of(config: JobConfig) -> Settings:
    """Return how to train: the hosted knobs, the rate scaled to the engine."""
    schedule = config.lr_scheduler
    stopping = EarlyStopping(
        config.early_stopping_patience, config.early_stopping_min_delta, config.early_stopping_warmup_evals
    )
    batch = limits.MAX_BATCH if config.batch_size == "max" else config.batch_size
    return Settings(
        epochs=config.n_epochs,
        batch_size=batch * (config.gradient_accumulation_steps or 1),
        rate=limits.engine_rate(config.learning_rate, config.training_method.method, adapter=_adapts(config)),
        schedule=schedule.lr_scheduler_type,
        min_rate_ratio=schedule.min_lr_ratio,
        cycles=schedule.num_cycles if isinstance(schedule, CosineSchedule) else 0.5,
        warmup_ratio=config.warmup_ratio,
        max_grad_norm=config.max_grad_norm,
        weight_decay=config.weight_decay,
        seed=_seed(config),
        evals=config.n_evals,
        checkpoints=config.n_checkpoints,
        early_stopping=stopping if config.early_stopping_enabled else None,
    )


def parameters_of(config: JobConfig, weights: Weights) -> Parameters:
    """Return the whole model to train, or an adapter beside it: the default, as on the hosted side."""
    asked = config.training_type or LoRA()
    if isinstance(asked, FullFineTuning):
        return Full(weights)
    rank = asked.lora_r or limits.DEFAULT_RANK
    return LowRank(weights, rank=rank, alpha=asked.lora_alpha or 2 * rank, seed=_seed(config))


def _adapts(config: JobConfig) -> bool:
    return not isinstance(config.training_type, FullFineTuning)


def _seed(config: JobConfig) -> int:
    return limits.DEFAULT_SEED if config.random_seed is None else config.random_seed
