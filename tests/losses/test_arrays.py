import array_api_strict as xps
import numpy as np
import pytest

from preftune.losses import preference_gradients, preference_loss, token_logps
from preftune.losses._arrays import first_index, namespace, needed_arrays, number, pair_arrays, refuse_below

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


@pytest.mark.parametrize("wrong", [[[-1.0], [-2.0, -3.0]], [-1.0, [-2.0]]])
def test_a_ragged_list_is_named(wrong):
    sentence = r"^second: expected shape \(B,\), found lists of several lengths; give one number a pair$"
    with pytest.raises(ValueError, match=sentence):
        pair_arrays(first=[-1.0, -2.0], second=wrong)


def test_arguments_that_are_needed_are_those_of_the_pairs():
    found = needed_arrays(first=[1, 2], second=np.array([3, 4], np.int8))
    assert {name: values.tolist() for name, values in found.items()} == {"first": [1.0, 2.0], "second": [3.0, 4.0]}


def test_the_first_argument_that_is_needed_and_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"^second: needed, found None; give one number a pair$"):
        needed_arrays(first=[1, 2], second=None, third=None)


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


def test_lists_become_arrays_of_the_library_of_the_others_with_all_of_their_digits():
    found = pair_arrays(first=[-1.1, 2], second=xps.asarray([3, 4], dtype=xps.int8), third=None)
    assert [type(found["first"]), type(found["second"]), found["third"]] == [type(xps.asarray(0))] * 2 + [None]
    assert {found["first"].dtype, found["second"].dtype} == {xps.float64}
    assert np.asarray(found["first"]).tolist() == [-1.1, 2.0]


def test_lists_follow_the_arrays_onto_a_device_without_float64():
    found = pair_arrays(first=[-1.5, 2], second=xps.asarray([3.0, 4.0], dtype=xps.float32, device=BARE))
    assert {(array.dtype, array.device) for array in found.values()} == {(xps.float32, BARE)}


@pytest.mark.parametrize("wrong", [["a", "b"], [True, False], [None, 1.0]])
def test_a_list_of_what_is_no_number_is_named_beside_arrays_of_a_library_too(wrong):
    with pytest.raises(ValueError, match=r"^second: expected real numbers, found dtype (<U1|bool|object)$"):
        pair_arrays(first=xps.asarray([1.0, 2.0]), second=wrong)


def test_arrays_of_two_libraries_are_refused_with_both_names():
    sentence = r"^third: expected an array of the library that second is of, found numpy\.ndarray; convert one of them$"
    with pytest.raises(ValueError, match=sentence):
        pair_arrays(first=[1.0, 2.0], second=xps.asarray([1.0, 2.0]), third=np.array([1.0, 2.0]))


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("chosen_lengths", [3, 0], r"expected at least 1 scored token, found 0; drop the pair"),
        ("rejected_lengths", [3, np.nan], r"expected at least 1 scored token, found nan; drop the pair"),
        ("weights", [0, -0.5], r"expected at least 0 as a weight, found -0\.5; swap the sides of a pair"),
        ("weights", [0, np.nan], r"expected at least 0 as a weight, found nan; swap the sides of a pair"),
    ],
)
def test_a_value_below_the_least_is_named_with_its_pair(name, values, sentence):
    with pytest.raises(ValueError, match=rf"^{name}\[1\]: {sentence}"):
        refuse_below({"weights": None} | {name: np.array(values)})


def test_the_least_values_and_other_arguments_pass():
    refuse_below({"chosen_lengths": np.ones(1), "weights": np.zeros(1), "policy_chosen_logps": np.array([-9.0])})
