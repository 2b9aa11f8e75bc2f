import warnings

import array_api_strict as xps
import numpy as np
import pytest

from preftune.losses import DPO, preference_loss, preference_metrics
from preftune.losses.rows import KEYS

LOGPS = {
    "policy_chosen_logps": [-10.0, -4.0],
    "policy_rejected_logps": [-15.0, -4.0],
    "reference_chosen_logps": [-11.0, -4.0],
    "reference_rejected_logps": [-12.0, -6.0],
}
EXPECTED = {  # log-ratios: chosen 1 and 0, rejected -3 and 2; beta 0.1
    "loss": 0.6555770608907722,  # (softplus(-0.4) + softplus(0.2)) / 2
    "accuracy": 0.5,
    "rewards_chosen": 0.05,
    "rewards_rejected": -0.05,
    "margin": 0.1,
    "kl_chosen": 0.25,
    "kl_rejected": 3.25,
    "logps_chosen": -7.0,
    "logps_rejected": -9.5,
}


@pytest.mark.parametrize("array", [list, np.array, xps.asarray])
def test_metrics_of_a_batch_by_hand(array):
    logps = {name: array(values) for name, values in LOGPS.items()}
    found = preference_metrics(preference_loss(**logps), **logps)
    assert found == pytest.approx(EXPECTED, rel=1e-14, abs=1e-16)
    assert {type(value) for value in found.values()} == {float}


def test_metrics_are_averaged_in_the_widest_float():
    logps = dict.fromkeys(LOGPS, np.full(100_001, -300.1, np.float32))
    found = preference_metrics(preference_loss(**logps), **logps)
    assert found["logps_chosen"] == pytest.approx(float(np.float32(-300.1)), rel=1e-13)


def test_kl_is_against_the_reference_even_when_the_loss_has_none():
    loss = preference_loss(
        policy_chosen_logps=LOGPS["policy_chosen_logps"],
        policy_rejected_logps=LOGPS["policy_rejected_logps"],
        method=DPO(dpo_reference_free=True),
    )
    found = preference_metrics(loss, **LOGPS)
    assert (found["kl_chosen"], found["kl_rejected"]) == (0.25, 3.25)


def test_metrics_of_a_batch_with_gradients_are_plain_numbers():
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
    logps = {name: torch.tensor(values, dtype=torch.bfloat16, requires_grad=True) for name, values in LOGPS.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = preference_metrics(preference_loss(**logps), **logps)
    assert found == pytest.approx(EXPECTED, rel=1e-14, abs=1e-16)


@pytest.mark.parametrize("name", LOGPS)
def test_an_argument_that_is_none_is_named(name):
    with pytest.raises(ValueError, match=f"^{name}: needed, found None; give one number a pair$"):
        preference_metrics(preference_loss(**LOGPS), **LOGPS | {name: None})


def test_every_metric_has_a_name_on_the_wire():
    metrics = preference_metrics(preference_loss(**LOGPS), **LOGPS)
    assert set(metrics) | {"learning_rate", "grad_norm"} == set(KEYS)
