import numpy as np
import pytest

from preftune.api.config import CosineSchedule, FullFineTuning, JobConfig, LinearSchedule, LoRA
from preftune.local.engine.model import base_weights
from preftune.local.engine.parameters import Full, LowRank
from preftune.local.engine.plan import parameters_of, settings_of
from preftune.local.engine.train import EarlyStopping, Settings, total_steps
from preftune.losses import DPO

FILES = {"model": "m", "training_file": "file-1", "validation_file": "file-2"}


def test_a_job_that_asks_for_nothing_trains_an_adapter_by_the_defaults():
    assert settings_of(JobConfig(model="m")) == Settings(
        epochs=1, batch_size=16, rate=5e-3, schedule="cosine", min_rate_ratio=0.0, cycles=0.5, warmup_ratio=0.0,
        max_grad_norm=1.0, weight_decay=0.0, seed=42, evals=0, checkpoints=1, early_stopping=None,
    )  # fmt: skip


def test_every_knob_of_a_job_reaches_the_training():
    config = JobConfig(
        **FILES, training_method=DPO(), training_type=FullFineTuning(), n_epochs=3, batch_size=4,
        gradient_accumulation_steps=5, learning_rate=2e-5, lr_scheduler=CosineSchedule(min_lr_ratio=0.1, num_cycles=2),
        warmup_ratio=0.07, max_grad_norm=0.5, weight_decay=0.01, random_seed=0, n_evals=6, n_checkpoints=7,
        early_stopping_enabled=True, early_stopping_patience=3, early_stopping_min_delta=0.25,
        early_stopping_warmup_evals=2,
    )  # fmt: skip
    assert settings_of(config) == Settings(
        epochs=3, batch_size=20, rate=2e-3, schedule="cosine", min_rate_ratio=0.1, cycles=2.0, warmup_ratio=0.07,
        max_grad_norm=0.5, weight_decay=0.01, seed=0, evals=6, checkpoints=7,
        early_stopping=EarlyStopping(patience=3, min_delta=0.25, warmup_evals=2),
    )  # fmt: skip


def test_a_linear_schedule_has_no_cycles():
    settings = settings_of(JobConfig(model="m", lr_scheduler=LinearSchedule(min_lr_ratio=0.2)))
    assert (settings.schedule, settings.min_rate_ratio) == ("linear", 0.2)


def test_early_stopping_is_off_unless_enabled():
    assert settings_of(JobConfig(**FILES, n_evals=5, early_stopping_patience=1)).early_stopping is None


@pytest.mark.parametrize(
    ("sizes", "examples_of_a_step", "steps"),
    [
        ({}, 16, 6),
        ({"batch_size": "max"}, 16, 6),
        ({"batch_size": "max", "gradient_accumulation_steps": 2}, 32, 4),
        ({"batch_size": 8}, 8, 10),
        ({"batch_size": 8, "gradient_accumulation_steps": 1}, 8, 10),
        ({"batch_size": 8, "gradient_accumulation_steps": 3}, 24, 4),
        ({"batch_size": 1, "gradient_accumulation_steps": 40}, 40, 2),
    ],
)
def test_accumulation_makes_a_step_of_several_batches(sizes, examples_of_a_step, steps):
    settings = settings_of(JobConfig(model="m", n_epochs=2, **sizes))
    assert (settings.batch_size, total_steps(40, settings)) == (examples_of_a_step, steps)


@pytest.mark.parametrize(
    ("method", "kind", "rate"),
    [
        ({"method": "sft"}, None, 5e-3),
        ({"method": "sft"}, LoRA(lora_r=4), 5e-3),
        ({"method": "sft"}, FullFineTuning(), 1e-2),
        ({"method": "dpo"}, None, 5e-4),
        ({"method": "dpo"}, LoRA(lora_alpha=99), 5e-4),
        ({"method": "dpo"}, FullFineTuning(), 1e-3),
    ],
)
def test_the_rate_is_scaled_by_the_method_and_halved_for_an_adapter(method, kind, rate):
    config = JobConfig(model="m", training_method=method, training_type=kind)
    assert settings_of(config).rate == pytest.approx(rate, rel=1e-12)


def test_full_training_trains_the_weights_themselves():
    weights = base_weights()
    found = parameters_of(JobConfig(model="m", training_type=FullFineTuning()), weights)
    assert isinstance(found, Full)
    assert found.trained is weights


@pytest.mark.parametrize(
    ("kind", "rank", "alpha"),
    [
        (None, 16, 32),
        (LoRA(), 16, 32),
        (LoRA(lora_r=4), 4, 8),
        (LoRA(lora_alpha=8), 16, 8),
        (LoRA(lora_r=64, lora_alpha=1), 64, 1),
    ],
)
def test_anything_else_trains_an_adapter_of_the_rank_and_scale_that_was_asked_for(kind, rank, alpha):
    found = parameters_of(JobConfig(model="m", training_type=kind), base_weights())
    assert isinstance(found, LowRank)
    assert (found.rank, found.alpha, found.trained["prompt.lora_A"].shape) == (rank, alpha, (rank, 32))


def test_an_adapter_begins_by_the_seed_of_the_job():
    inner = [
        parameters_of(JobConfig(model="m", **seed), base_weights()).trained["prompt.lora_A"]
        for seed in ({}, {"random_seed": 42}, {"random_seed": 0})
    ]
    np.testing.assert_array_equal(inner[0], inner[1])
    assert not np.array_equal(inner[0], inner[2])
