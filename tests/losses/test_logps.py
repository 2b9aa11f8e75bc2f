import array_api_strict as xps
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.losses import logps, preference_gradients, preference_loss, sequence_logps, token_logps

FACT = settings(max_examples=40, deadline=None, database=None, derandomize=True)


def sample(*, rows: int = 3, tokens: int = 9, vocabulary: int = 11, dtype: type = np.float64, seed: int = 5):
    """Logits, labels and a mask that scores about half of the tokens and never the first."""
    random = np.random.default_rng(seed)
    mask = random.random((rows, tokens)) < 0.5
    mask[:, 0] = False
    logits = random.normal(0, 3, (rows, tokens, vocabulary)).astype(dtype)
    return logits, random.integers(0, vocabulary, (rows, tokens)), mask


def oracle(logits: np.ndarray, labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return per-token log-probabilities by a whole log-softmax in float64."""
    wide = logits.astype(np.float64)
    log_softmax = wide - np.log(np.sum(np.exp(wide), axis=2, keepdims=True))
    found = np.zeros(labels.shape)
    for b, t in zip(*np.nonzero(mask), strict=True):
        found[b, t] = log_softmax[b, t - 1, labels[b, t]]
    return found


def test_logits_at_one_position_score_the_next_token_by_hand():
    # softmax of (0, ln 3) is (1/4, 3/4), of (0, 0) is (1/2, 1/2); the last logits score nothing
    logits = np.array([[[0.0, np.log(3)], [0.0, 0.0], [50.0, -50.0]]])
    found = token_logps(logits, np.array([[1, 0, 1]]), np.array([[False, True, True]]))
    np.testing.assert_allclose(found, [[0.0, np.log(1 / 4), np.log(1 / 2)]], rtol=1e-15)


def test_sums_and_lengths_by_hand():
    logits = np.zeros((2, 4, 2))
    mask = np.array([[False, True, True, True], [False, False, True, False]])
    sums, lengths = sequence_logps(logits, np.zeros((2, 4), np.int64), mask)
    np.testing.assert_allclose(sums, [-3 * np.log(2), -np.log(2)], rtol=1e-15)
    np.testing.assert_array_equal(lengths, [3, 1])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_a_batch_agrees_with_a_whole_log_softmax_in_float64(dtype):
    arguments = sample(dtype=dtype)
    found = token_logps(*arguments)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, oracle(*arguments), rtol=1e-12 if dtype is np.float64 else 2e-6, atol=1e-12)
    sums, lengths = sequence_logps(*arguments)
    np.testing.assert_array_equal(sums, found.sum(axis=1))
    np.testing.assert_array_equal(lengths, arguments[2].sum(axis=1))


def test_tokens_out_of_the_mask_count_zero():
    logits, labels, mask = sample()
    assert np.all(token_logps(logits, labels, mask)[~mask] == 0)


def test_float32_logits_are_summed_in_float64():
    logits, labels, mask = sample(rows=1, tokens=20_001, vocabulary=3, dtype=np.float32)
    mask[:, 1:] = True
    found = sequence_logps(logits, labels, mask)[0]
    np.testing.assert_allclose(found, oracle(logits, labels, mask).sum(axis=1), rtol=1e-8)


def test_many_unlikely_tokens_are_not_lost_beside_a_likely_one():
    # each adds e**-17 = 4e-8, which float32 drops beside 1
    logits = np.full((1, 2, 100_001), -17, np.float32)
    logits[0, 0, 5] = 0
    found = token_logps(logits, np.array([[0, 5]]), np.array([[False, True]]))
    assert found[0, 1] == pytest.approx(-np.log1p(100_000 * np.exp(-17.0)), abs=1e-8)


def test_huge_logits_do_not_overflow():
    logits = np.array([[[1e30, -1e30, 0.0], [0.0, 0.0, 0.0]]], np.float32)
    found = token_logps(logits, np.array([[0, 0]]), np.array([[False, True]]))
    np.testing.assert_array_equal(found, [[0.0, 0.0]])


def test_a_forbidden_token_beside_the_label_changes_nothing():
    logits = np.array([[[0.0, -np.inf, np.log(3)], [0.0, 0.0, 0.0]]])
    found = token_logps(logits, np.array([[0, 2]]), np.array([[False, True]]))
    np.testing.assert_allclose(found, [[0.0, np.log(3 / 4)]], rtol=1e-15)


@pytest.mark.parametrize("chunk", [1, 22, 33, 34, 88, 10_000])  # of 11 logits a row: 1, 1, 2, 3, 3, 8 and all rows
def test_chunks_fit_together(monkeypatch, chunk):
    arguments = sample()
    expected = token_logps(*arguments)
    monkeypatch.setattr(logps, "_CHUNK", chunk)
    np.testing.assert_array_equal(token_logps(*arguments), expected)


def test_labels_that_are_not_scored_may_be_anything():
    logits, labels, mask = sample()
    expected = token_logps(logits, labels, mask)
    for filler in (-100, 10**9):
        np.testing.assert_array_equal(token_logps(logits, np.where(mask, labels, filler), mask), expected)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint16])
def test_labels_of_any_integer_type_and_masks_of_numbers_are_taken(dtype):
    logits, labels, mask = sample()
    found = token_logps(logits, labels.astype(dtype), mask.astype(dtype))
    np.testing.assert_array_equal(found, token_logps(logits, labels, mask))
    lengths = sequence_logps(logits, labels, mask.astype(dtype))[1]
    np.testing.assert_array_equal(lengths, mask.sum(axis=1))


def test_one_token_scores_nothing():
    sums, lengths = sequence_logps(np.zeros((2, 1, 4)), np.zeros((2, 1), np.int64), np.zeros((2, 1), bool))
    np.testing.assert_array_equal([sums, lengths], np.zeros((2, 2)))


def test_inputs_may_be_views_and_read_only():
    logits, labels, mask = sample()
    view = np.asfortranarray(logits)
    view.flags.writeable = labels.flags.writeable = mask.flags.writeable = False
    np.testing.assert_allclose(token_logps(view, labels, mask), token_logps(logits, labels, mask), rtol=1e-14)


def test_arrays_of_the_standard_give_the_same_numbers():
    arguments = sample()
    sums, lengths = sequence_logps(*(xps.asarray(array) for array in arguments))
    np.testing.assert_allclose(np.asarray(sums), sequence_logps(*arguments)[0], rtol=1e-14)
    np.testing.assert_array_equal(np.asarray(lengths), sequence_logps(*arguments)[1])


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4, 5), (0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_logits_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"^logits: expected shape \(B, T, V\), none of them 0, found \("):
        token_logps(np.zeros(shape), np.zeros(shape[:2], np.int64), np.zeros(shape[:2], bool))


@pytest.mark.parametrize(("name", "at"), [("labels", 1), ("mask", 2)])
def test_labels_and_mask_of_another_shape_are_refused(name, at):
    arguments = list(sample())
    arguments[at] = arguments[at][:, 1:]
    with pytest.raises(ValueError, match=rf"^{name}: expected shape \(3, 9\), found \(3, 8\)$"):
        token_logps(*arguments)


def test_labels_that_are_no_integers_are_refused():
    logits, labels, mask = sample()
    with pytest.raises(ValueError, match=r"^labels: expected integer token ids, found dtype float64$"):
        token_logps(logits, labels.astype(np.float64), mask)


def test_a_mask_that_scores_the_first_token_is_refused_with_its_row():
    logits, labels, mask = sample()
    mask[1:, 0] = True
    with pytest.raises(
        ValueError, match=r"^mask\[1, 0\]: expected false, found true; no logits score the first token$"
    ):
        token_logps(logits, labels, mask)


@pytest.mark.parametrize(("label", "how"), [(-100, "negative"), (11, "at or above the vocabulary")])
def test_a_scored_label_out_of_range_is_refused_with_its_row(label, how):
    logits, labels, mask = sample()
    labels[2, 4], mask[2, 4] = label, True
    with pytest.raises(
        ValueError, match=rf"^labels\[2\]: expected ids in 0\.\.10 where the mask is true, found one {how}$"
    ):
        token_logps(logits, labels, mask)


@FACT
@given(st.floats(-1e3, 1e3), st.integers(0, 100))
def test_a_constant_on_all_logits_of_a_position_changes_nothing(constant, seed):
    logits, labels, mask = sample(seed=seed)
    np.testing.assert_allclose(
        token_logps(logits + constant, labels, mask), token_logps(logits, labels, mask), rtol=1e-9, atol=1e-9
    )


@FACT
@given(st.integers(0, 1000))
def test_the_probabilities_of_all_next_tokens_add_up_to_one(seed):
    logits = sample(rows=1, tokens=2, seed=seed)[0]
    everything = np.repeat(logits, 11, axis=0)
    labels = np.stack([np.zeros(11, np.int64), np.arange(11)], axis=1)
    mask = np.tile([False, True], (11, 1))
    assert np.exp(sequence_logps(everything, labels, mask)[0]).sum() == pytest.approx(1, rel=1e-12)


def pair_of_logits(torch, dtype):
    """Chosen and rejected logits with gradients, with their labels and masks, as torch tensors."""
    sides = [tuple(torch.from_numpy(array) for array in sample(seed=seed)) for seed in (1, 2)]
    return [(logits.to(dtype).requires_grad_(), labels, mask) for logits, labels, mask in sides]


def test_torch_autograd_reaches_the_logits_as_the_formula_says():
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
    sides = pair_of_logits(torch, torch.float64)
    sums = [sequence_logps(*side)[0] for side in sides]
    reference = [side.detach() + torch.tensor([1.0, -2.0, 0.5]) for side in sums]
    names = ("policy_chosen_logps", "policy_rejected_logps", "reference_chosen_logps", "reference_rejected_logps")
    arguments = dict(zip(names, (*sums, *reference), strict=True))
    preference_loss(**arguments).losses.sum().backward()
    for (logits, labels, mask), pull in zip(sides, preference_gradients(**arguments), strict=True):
        # dL/dlogit[t-1, v] = (dL/dlogps) * (1[v = y_t] - softmax_v) where token t is scored
        one_hot = torch.nn.functional.one_hot(labels[:, 1:], 11).double()
        expected = torch.zeros_like(logits)
        expected[:, :-1] = pull[:, None, None] * (one_hot - torch.softmax(logits, 2)[:, :-1]) * mask[:, 1:, None]
        torch.testing.assert_close(logits.grad, expected.detach(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_torch_logits_of_half_precision_lose_nothing_more(dtype):
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
    logits, labels, mask = pair_of_logits(torch, getattr(torch, dtype))[0]
    sums, lengths = sequence_logps(logits, labels.to(torch.int32), mask)
    expected = oracle(logits.detach().double().numpy(), labels.numpy(), mask.numpy()).sum(axis=1)
    np.testing.assert_allclose(sums.detach().numpy(), expected, rtol=1e-6)
    np.testing.assert_array_equal(lengths.numpy(), mask.sum(dim=1).numpy())
    sums.sum().backward()
    assert logits.grad.dtype == getattr(torch, dtype)
