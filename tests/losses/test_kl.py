import tracemalloc

import array_api_strict as xps
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.losses import k1, k2, k3, logps, token_kl

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


def whole_kl(policy: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return sum of p * log(p / q) from whole softmaxes, entry t from the logits at t-1, token by token."""
    found = np.zeros(mask.shape)
    for b, t in zip(*np.nonzero(mask), strict=True):
        p, q = (np.exp(logits[b, t - 1] - np.logaddexp.reduce(logits[b, t - 1])) for logits in (policy, reference))
        found[b, t] = sum(p[v] * np.log(p[v] / q[v]) for v in range(p.size) if p[v] > 0)
    return found


def sample(*, rows: int = 3, tokens: int = 7, vocabulary: int = 11, dtype: type = np.float64, seed: int = 5):
    """Two models' logits, and a mask with holes that never scores the first token."""
    random = np.random.default_rng(seed)
    mask = random.random((rows, tokens)) < 0.6
    mask[:, 0] = False
    shape = rows, tokens, vocabulary
    return random.normal(0, 3, shape).astype(dtype), random.normal(0, 3, shape).astype(dtype), mask


def test_the_divergence_of_a_token_by_hand():
    # (1/4, 3/4) against (1/2, 1/2): ln(1/2) / 4 + 3 ln(3/2) / 4; the other way round: ln(2) / 2 + ln(2/3) / 2
    one, other = np.array([[[0.0, np.log(3)], [9.0, 0.0]]]), np.zeros((1, 2, 2))
    mask = np.array([[False, True]])
    np.testing.assert_allclose(token_kl(one, other, mask), [[0, 0.13081203594113694]], rtol=1e-14)
    np.testing.assert_allclose(token_kl(other, one, mask), [[0, 0.14384103622589042]], rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_the_divergence_agrees_with_a_whole_computation_in_float64(dtype):
    policy, reference, mask = sample(dtype=dtype)
    found = token_kl(policy, reference, mask)
    assert found.dtype == np.float64
    expected = whole_kl(policy.astype(np.float64), reference.astype(np.float64), mask)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.all(found[~mask] == 0)
    assert np.all(found[mask] > 0)


def test_the_divergence_is_zero_at_itself_and_for_logits_that_differ_by_a_constant():
    policy, _, mask = sample()
    np.testing.assert_array_equal(token_kl(policy, policy, mask), np.zeros(mask.shape))
    np.testing.assert_allclose(token_kl(policy, policy + 8, mask), np.zeros(mask.shape), atol=1e-14)


@FACT
@given(st.integers(0, 1000), st.sampled_from([1e-9, 1e-7, 1e-3, 1.0, 100.0]))
def test_the_divergence_is_never_negative_not_even_by_rounding(seed, distance):
    policy, noise, mask = sample(seed=seed, vocabulary=50)
    assert np.all(token_kl(policy, policy + distance * noise, mask) >= 0)


def test_a_token_that_the_policy_excludes_adds_nothing():
    policy, reference, mask = sample()
    policy[:, :, 10] = -np.inf
    expected = whole_kl(policy, reference, mask)
    np.testing.assert_allclose(token_kl(policy, reference, mask), expected, rtol=1e-12)
    reference[:, :, 10] = -np.inf
    np.testing.assert_allclose(
        token_kl(policy, reference, mask), token_kl(policy[:, :, :10], reference[:, :, :10], mask), rtol=1e-12
    )


def test_a_token_that_the_reference_alone_excludes_is_infinitely_far():
    policy, reference, mask = sample()
    reference[:, :, 10] = -np.inf
    np.testing.assert_array_equal(token_kl(policy, reference, mask), np.where(mask, np.inf, 0))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("library", [np.asarray, xps.asarray], ids=["numpy", "strict"])
def test_logits_that_score_no_token_are_not_read(library, wrong):
    policy, reference, mask = sample()
    expected = token_kl(*(library(array) for array in (policy, reference, mask)))
    policy[~np.roll(mask, -1, axis=1)] = reference[~np.roll(mask, -1, axis=1)] = wrong
    found = token_kl(*(library(array) for array in (policy, reference, mask)))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def test_huge_logits_do_not_overflow():
    logits = np.array([[[1e30, -1e30, 0.0], [0.0, 0.0, 0.0]]], np.float32)
    found = token_kl(logits, logits, np.array([[False, True]]))
    np.testing.assert_array_equal(found, [[0.0, 0.0]])


@pytest.mark.parametrize("block", [1, 22, 33, 10_000])
def test_blocks_of_any_length_fit_together(monkeypatch, block):
    arguments = sample()
    expected = token_kl(*arguments)
    monkeypatch.setattr(logps, "_BLOCK", block)
    np.testing.assert_array_equal(token_kl(*arguments), expected)


def test_the_divergence_of_more_tokens_takes_no_more_memory():
    policy, reference = np.random.default_rng(1).standard_normal((2, 1, 48, 1 << 16), np.float32)
    peaks = []
    for tokens in (12, 48):
        mask = np.arange(tokens)[None, :] > 0
        tracemalloc.start()
        try:
            token_kl(policy[:, :tokens], reference[:, :tokens], mask)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + (1 << 18)


def test_arrays_of_the_standard_give_the_same_divergence():
    arguments = sample()
    found = token_kl(*(xps.asarray(array) for array in arguments))
    np.testing.assert_allclose(np.asarray(found), token_kl(*arguments), rtol=1e-13)


def test_views_and_read_only_logits_are_read_and_left_alone():
    policy, reference, mask = sample()
    view = np.asfortranarray(policy)
    view.flags.writeable = reference.flags.writeable = False
    np.testing.assert_allclose(token_kl(view, reference, mask), token_kl(policy, reference, mask), rtol=1e-13)


def test_a_reference_of_another_shape_is_refused():
    policy, reference, mask = sample()
    sentence = r"^reference_logits: expected shape \(3, 7, 11\) like policy_logits, found \(3, 7, 10\)$"
    with pytest.raises(ValueError, match=sentence):
        token_kl(policy, reference[:, :, 1:], mask)


def test_logits_of_two_libraries_are_refused():
    policy, reference, mask = sample()
    sentence = r"^reference_logits: expected an array of the library that policy_logits is of, found array_api_strict\."
    with pytest.raises(ValueError, match=sentence):
        token_kl(policy, xps.asarray(reference), mask)


@pytest.mark.parametrize(("name", "at"), [("policy_logits", 0), ("reference_logits", 1), ("mask", 2)])
def test_lists_are_refused_with_what_to_do(name, at):
    arguments = list(sample())
    arguments[at] = arguments[at].tolist()
    with pytest.raises(ValueError, match=rf"^{name}: expected an array, found list; numpy\.asarray makes one of it$"):
        token_kl(*arguments)


def test_a_mask_of_another_shape_is_refused():
    policy, reference, mask = sample()
    with pytest.raises(ValueError, match=r"^mask: expected shape \(3, 7\), found \(3, 6\)$"):
        token_kl(policy, reference, mask[:, 1:])


def test_a_mask_that_scores_the_first_token_is_refused_with_its_row():
    policy, reference, mask = sample()
    mask[2, 0] = True
    with pytest.raises(
        ValueError, match=r"^mask\[2, 0\]: expected false, found true; no logits score the first token$"
    ):
        token_kl(policy, reference, mask)


def test_policy_logits_that_are_no_real_numbers_are_refused():
    policy, reference, mask = sample()
    with pytest.raises(ValueError, match=r"^logits: expected real numbers, found dtype int64$"):
        token_kl(policy.astype(np.int64), reference, mask)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_torch_agrees_with_its_own_kl_and_its_gradient(dtype):
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
    policy, reference, mask = (torch.from_numpy(array) for array in sample())
    policy, reference = policy.to(getattr(torch, dtype)).requires_grad_(), reference.to(getattr(torch, dtype))
    found = token_kl(policy, reference, mask)
    assert found.dtype == torch.float64
    wide = policy.detach().double().requires_grad_()
    p, q = torch.log_softmax(wide, 2), torch.log_softmax(reference.double(), 2)
    per_position = torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(2)
    expected = per_position[:, :-1] * mask[:, 1:]
    torch.testing.assert_close(found[:, 1:].detach(), expected.detach(), rtol=1e-10, atol=1e-14)
    found.sum().backward()
    expected.sum().backward()
    rounding = {"float64": 1e-13, "float32": 1e-6, "bfloat16": 2e-2}[dtype]
    torch.testing.assert_close(policy.grad.double(), wide.grad, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_gradient_of_torch_passes_by_what_scores_no_token(wrong):
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
    policy, reference, mask = (torch.from_numpy(array) for array in sample())
    (expected,) = torch.autograd.grad(token_kl(policy.requires_grad_(), reference, mask).sum(), policy)
    unread = ~mask.roll(-1, 1)
    policy, reference = (each.detach().masked_fill(unread[..., None], wrong) for each in (policy, reference))
    (found,) = torch.autograd.grad(token_kl(policy.requires_grad_(), reference, mask).sum(), policy)
    assert torch.equal(found, expected)
    assert not torch.any(found[unread])


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_gradient_of_jax_passes_by_what_scores_no_token(wrong):
    jax = pytest.importorskip("jax", reason="jax is not installed: pip install 'jax>=0.10,<0.11'")
    policy, reference, mask = sample(dtype=np.float32)
    read = np.roll(mask, -1, axis=1)
    policy[~read] = reference[~read] = wrong
    policy, reference, scored = (jax.numpy.asarray(array) for array in (policy, reference, mask))
    found = np.asarray(jax.grad(lambda each: token_kl(each, reference, scored).sum())(policy))
    assert np.all(np.isfinite(found))
    assert not np.any(found[~read])
    assert np.all(np.any(found[read] != 0, axis=1))


def test_jax_agrees_with_numpy():
    jax = pytest.importorskip("jax", reason="jax is not installed: pip install 'jax>=0.10,<0.11'")
    arguments = sample(dtype=np.float32)
    found = token_kl(*(jax.numpy.asarray(array) for array in arguments))
    np.testing.assert_allclose(np.asarray(found), token_kl(*arguments), rtol=1e-5, atol=1e-6)
