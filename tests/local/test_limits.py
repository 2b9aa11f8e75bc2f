import pytest
from pydantic import TypeAdapter

from preftune.local import limits, wire


def test_limits_say_what_every_model_can_be_asked_for():
    batch = {"max_batch_size": 16, "max_batch_size_dpo": 16, "min_batch_size": 1}
    assert limits.limits("any/name") == {
        "model_name": "any/name",
        "max_num_epochs": 20,
        "max_num_evals": 100,
        "max_num_checkpoints": 100,
        "min_learning_rate": 1e-8,
        "max_learning_rate": 0.01,
        "min_max_seq_length": 16,
        "max_seq_length_sft": 65_536,
        "max_seq_length_dpo": 32_768,
        "default_gradient_accumulation_steps": 1,
        "supports_vision": False,
        "supports_tools": True,
        "supports_reasoning": True,
        "supports_full_training": True,
        "merge_output_lora": True,
        "lora_training": batch | {"max_rank": 64, "default_rank": 16, "target_modules": ["all-linear"]},
        "full_training": batch,
    }
    assert TypeAdapter(wire.Limits).validate_python(limits.limits("any/name")) == limits.limits("any/name")


@pytest.mark.parametrize(
    ("rate", "method", "expected"),
    [
        (1e-5, "sft", 1e-2),
        (1e-5, "dpo", 1e-3),
        (1e-2, "sft", 2e-2),
        (1e-2, "dpo", 3e-3),
        (1e-8, "sft", 1e-5),
        (1e-8, "dpo", 1e-6),
    ],
)
def test_rates_are_scaled_by_a_capped_factor_and_halved_for_an_adapter(rate, method, expected):
    assert limits.engine_rate(rate, method, adapter=False) == pytest.approx(expected, rel=1e-12)
    assert limits.engine_rate(rate, method, adapter=True) == pytest.approx(expected / 2, rel=1e-12)
