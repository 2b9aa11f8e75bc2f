import array_api_strict as xps
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.losses import k1, k2, k3

FACT = settings(max_examples=60, deadline=None, database=None, derandomize=True)
POLICY, REFERENCE = np.array([-3.0, -5.0, -1.0]), np.array([-3.0, -4.0, -3.0])  # log-ratios 0, -1, 2


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (k1, [0.0, -1.0, 2.0]),
        (k2, [0.0, 0.5, 2.0]),
        (k3, [0.0, 0.7182818284590451, 1.1353352832366127]),  # e - 1 - 1; e**-2 - 1 + 2
    ],
)
def test_estimators_by_hand(estimator, expected):
    np.testing.assert_allclose(estimator(POLICY, REFERENCE), expected, rtol=1e-15)


@pytest.mark.parametrize("estimator", [k1, k2, k3])
def test_estimators_are_exactly_zero_at_the_reference(estimator):
    np.testing.assert_array_equal(estimator(POLICY, POLICY), np.zeros(3))


@pytest.mark.parametrize("estimator", [k1, k2, k3])
def test_estimators_keep_the_shape_of_tokens(estimator):
    assert estimator(np.zeros((2, 5)), np.ones((2, 5))).shape == (2, 5)


@pytest.mark.parametrize("estimator", [k1, k2, k3])
def test_estimators_take_arrays_of_the_standard(estimator):
    found = estimator(xps.asarray(POLICY), xps.asarray(REFERENCE))
    np.testing.assert_array_equal(np.asarray(found), estimator(POLICY, REFERENCE))


@FACT
@given(st.floats(-500, 0), st.floats(-500, 0))
def test_k2_and_k3_are_never_negative(policy, reference):
    a, b = np.array([policy]), np.array([reference])
    assert k2(a, b)[0] >= 0
    assert k3(a, b)[0] >= 0


@FACT
@given(st.floats(-1e-3, 1e-3))
def test_k2_and_k3_agree_near_the_reference(log_ratio):
    a, b = np.array([log_ratio]), np.array([0.0])
    assert abs(k2(a, b)[0] - k3(a, b)[0]) <= abs(log_ratio) ** 3 / 5 + 1e-18
