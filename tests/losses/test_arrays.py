import array_api_strict as xps
import numpy as np
import pytest

from preftune.losses import preference_gradients, preference_loss, token_logps
from preftune.losses._arrays import first_index, namespace, number, pair_arrays

NAMES = ("policy_chosen_logps", "policy_rejected_logps", "reference_chosen_logps", "reference_rejected_logps")
BARE = xps.Device("no_float64")  # an accelerator without float64


def test_arguments_that_are_none_stay_none_and_in_place():
    found = pair_arrays(first=[1, 2], second=None, third=np.array([3, 4], np.int8))
    assert list(found) == ["first", "second", "third"]
    assert found["second"] is None
    np.testing.assert_array_equal(found["first"], [1.0, 2.0])
    assert {found["first"].dtype, found["third"].dtype} == {np.dtype(np.float64)}


def test_float64_arrays_are_not_copied():
    array = np.array([1.0, 2.0])
    assert pair_arrays(given=array)["given"] is array


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (-1.0, r"^second: expected shape \(B,\), found \(\); give one number a pair$"),
        ([[-1.0, -2.0]], r"^second: expected shape \(B,\), found \(1, 2\); give one number a pair$"),
        ([], r"^second: expected at least one pair, found an empty array$"),
        ([-1.0], r"^second: expected 2 pairs like first, found 1$"),
        ([True, False], r"^second: expected real numbers, found dtype bool$"),
        ([1j, 2j], r"^second: expected real numbers, found dtype complex128$"),
        (["a", "b"], r"^second: expected real numbers, found dtype <U1$"),
        ([None, 1.0], r"^second: expected real numbers, found dtype object$"),
    ],
)
def test_an_argument_of_the_wrong_kind_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        pair_arrays(first=[-1.0, -2.0], second=wrong)


@pytest.mark.parametrize(("condition", "index"), [([False, True, True], 1), ([True], 0), ([False, False], None)])
def test_first_index_is_that_of_the_first_true_entry(condition, index):
    assert first_index(xps, xps.asarray(condition)) == index
    assert first_index(namespace(np.zeros(1)), np.array(condition)) == index


def test_a_scalar_array_becomes_a_float():
    assert number(xps.asarray(0.5)) == 0.5
    assert number(np.float64(0.5)) == 0.5


def test_a_device_without_float64_gets_the_widest_it_has():
    arrays = {name: xps.asarray([-1.0, -2.0], dtype=xps.float32, device=BARE) for name in NAMES}
    found = preference_loss(**arrays)
    gradients = preference_gradients(**arrays)
    assert {a.dtype for a in (found.losses, found.rewards_chosen, found.mean, found.accuracy, *gradients)} == {
        xps.float32
    }
    assert {a.device for a in (found.losses, found.rewards_chosen, *gradients)} == {BARE}


def test_logits_on_a_device_without_float64_are_scored_there():
    logits = xps.zeros((1, 2, 4), dtype=xps.float32, device=BARE)
    found = token_logps(logits, xps.asarray([[0, 1]], device=BARE), xps.asarray([[False, True]], device=BARE))
    assert (found.dtype, found.device) == (xps.float32, BARE)
    assert float(found[0, 1]) == pytest.approx(-1.3862943611198906, rel=1e-6)  # -ln 4
