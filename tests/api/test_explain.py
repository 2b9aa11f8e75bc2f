import warnings

import pytest

from preftune.api.config import DPO, SFT, FullFineTuning, JobConfig, LinearSchedule, LoRA
from preftune.errors import ConfigWarning

TRAINING = "Trains the model's default (LoRA) for 1 epoch, batch max, peak rate 1e-05, cosine schedule."
PAIR = "A pair that is not learned at all has the loss 0.6931"


def explained(**fields):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConfigWarning)
        return JobConfig(**{"model": "m"} | fields).explain().splitlines()


def test_supervised_tuning_is_explained():
    assert explained(
        training_method=SFT(train_on_inputs=False),
        training_type=FullFineTuning(),
        n_epochs=2,
        batch_size=8,
        learning_rate=0.001,
        lr_scheduler=LinearSchedule(),
    ) == [
        "Supervised fine-tuning from m.",
        "loss = mean over answer tokens of -log p(token)",
        "train_on_inputs is False.",
        "Trains all weights for 2 epochs, batch 8, peak rate 0.001, linear schedule.",
    ]


def test_plain_preference_tuning_is_explained():
    assert explained(model=None, from_checkpoint="ft-1:3", training_method="dpo", training_type=LoRA()) == [
        "Preference tuning from checkpoint ft-1:3; the reference is the model at the start of the job.",
        "loss = -log sigmoid(z)",
        "z = 0.1 * (log[p(chosen) / p_ref(chosen)] - log[p(rejected) / p_ref(rejected)])",
        f"{PAIR}.",
        "Trains a LoRA adapter for 1 epoch, batch max, peak rate 1e-05, cosine schedule.",
    ]


def test_what_is_ignored_and_what_stops_early_is_said():
    lines = explained(
        training_method="dpo", train_on_inputs=True, early_stopping_enabled=True, n_evals=4, validation_file="v"
    )
    assert lines[-2:] == [
        TRAINING,
        "Stops early after 2 evaluations without improvement; the best step becomes the result.",
    ]
    assert "Ignored: train_on_inputs; preference tuning scores answers alone, so it is not sent." in lines


@pytest.mark.parametrize(
    ("method", "lines"),
    [
        (
            DPO(dpo_beta=2, dpo_normalize_logratios_by_length=True),
            [
                "loss = -log sigmoid(z)",
                (
                    "z = 2 * (log[p(chosen) / p_ref(chosen)] / tokens(chosen)"
                    " - log[p(rejected) / p_ref(rejected)] / tokens(rejected))"
                ),
                "Length-normalised: each side's log-ratio is divided by its own number of answer tokens.",
                f"{PAIR}.",
            ],
        ),
        (
            DPO(dpo_reference_free=True, rpo_alpha=0.5),
            [
                "loss = -log sigmoid(z) + 0.5 * (-log p(chosen) / tokens(chosen))",
                "z = 0.1 * (log p(chosen) - log p(rejected))",
                "dpo_reference_free: the reference model is left out, so nothing holds the policy near its start.",
                "rpo_alpha adds the chosen answer's mean NLL per token, which keeps its log-probability from falling.",
                "A pair whose two sides count alike has the loss 0.6931 (plus the NLL term).",
            ],
        ),
        (
            DPO(dpo_beta=2, simpo_gamma=1),
            [
                "loss = -log sigmoid(z)",
                "z = 2 * (log p(chosen) / tokens(chosen) - log p(rejected) / tokens(rejected)) - 1",
                (
                    "Implied by simpo_gamma > 0 (SimPO): no reference (dpo_reference_free), "
                    "each side divided by its length"
                ),
                "(dpo_normalize_logratios_by_length); gamma is an absolute margin that dpo_beta does not multiply.",
                "A pair whose two sides count alike has the loss 1.313.",
            ],
        ),
        (
            DPO(dpo_beta=5),
            [
                "loss = -log sigmoid(z)",
                "z = 5 * (log[p(chosen) / p_ref(chosen)] - log[p(rejected) / p_ref(rejected)])",
                f"{PAIR}.",
                (
                    "Advice: dpo_beta is 5; plain DPO is useful from 0.05 to 0.9: "
                    "lower follows the preferences harder, higher stays closer to the reference."
                ),
            ],
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::preftune.errors.ConfigWarning")
def test_each_knob_of_the_loss_is_explained(method, lines):
    explained = JobConfig(model="m", training_method=method).explain().splitlines()
    assert explained[1:-1] == lines


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"validation_file": "f"}, "Ignored: validation_file, since n_evals is 0."),
        (
            {"early_stopping_patience": 3},
            "Ignored: early_stopping_patience, since early_stopping_enabled is False.",
        ),
        ({"wandb_name": "x", "wandb_entity": "y"}, "Ignored: wandb_entity, wandb_name, since there is no wandb_key."),
        ({"max_grad_norm": 0}, "max_grad_norm is 0: gradients are not clipped."),
    ],
)
def test_a_knob_without_an_effect_is_told(fields, line):
    assert line in JobConfig(model="m", **fields).explain().splitlines()


def test_the_pace_of_training_is_told_whole():
    config = JobConfig(
        from_checkpoint="ft-1", batch_size=8, gradient_accumulation_steps=4, warmup_ratio=0.1, n_epochs=2
    )
    assert config.explain().splitlines()[-1] == (
        "Trains what the parent job trained for 2 epochs, batch 8 x 4, peak rate 1e-05, cosine schedule "
        "after a warm-up of 10% of the steps."
    )


def test_a_method_without_a_reference_is_not_given_one():
    config = JobConfig(model="m", training_method=DPO(dpo_beta=2, simpo_gamma=1))
    assert config.explain().splitlines()[0] == "Preference tuning from m; no reference is in the loss."
