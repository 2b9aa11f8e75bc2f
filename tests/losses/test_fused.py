import array_api_strict as xps
import numpy as np
import pytest

from preftune.losses import DPO, logps, preference_loss, preference_loss_and_gradient, sequence_logps

PLAIN = DPO(dpo_beta=0.3)
METHODS = {
    "plain": PLAIN,
    "reference-free": DPO(dpo_beta=0.3, dpo_reference_free=True),
    "normalized": DPO(dpo_beta=2.0, dpo_normalize_logratios_by_length=True),
    "normalized+reference-free": DPO(dpo_beta=2.0, dpo_normalize_logratios_by_length=True, dpo_reference_free=True),
    "simpo": DPO(dpo_beta=2.0, simpo_gamma=0.5),
    "rpo": DPO(dpo_beta=0.3, rpo_alpha=0.5),
    "simpo+rpo": DPO(dpo_beta=2.0, simpo_gamma=0.5, rpo_alpha=0.5),
}
each_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
each_nll = pytest.mark.parametrize("nll", ["batch-token", "sequence"])


def sample(*, pairs: int = 3, tokens: int = 6, vocabulary: int = 5, dtype: type = np.float64, seed: int = 5):
    """Logits, labels and a mask with holes that scores at least one token of every answer, never the first."""
    random = np.random.default_rng(seed)
    mask = random.random((2 * pairs, tokens)) < 0.5
    mask[:, 0], mask[:, 3] = False, True
    logits = random.normal(0, 2, (2 * pairs, tokens, vocabulary)).astype(dtype)
    return logits, random.integers(0, vocabulary, (2 * pairs, tokens)), mask


def beside(pairs: int = 3) -> dict[str, np.ndarray]:
    """References, and weights of which one is 0."""
    random = np.random.default_rng(8)
    references = {f"reference_{side}_logps": -random.uniform(3, 9, pairs) for side in ("chosen", "rejected")}
    return references | {"weights": np.array([0.5, 2.0, 0.0])[:pairs]}


def in_two_steps(logits, labels, mask, **arguments):
    """Return the loss of the log-probabilities of the same logits."""
    sums, lengths = sequence_logps(logits, labels, mask)
    half = logits.shape[0] // 2
    return preference_loss(
        policy_chosen_logps=sums[:half], policy_rejected_logps=sums[half:],
        chosen_lengths=lengths[:half], rejected_lengths=lengths[half:], **arguments,
    )  # fmt: skip


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")


def test_one_pair_by_hand():
    # the chosen token has 3/4 and the rejected one 1/4 of the probability: z = ln 3, the loss ln(1 + 1/3), q = 1/4
    logits = np.array([[[0.0, np.log(3)], [9.0, 9.0]]] * 2)
    labels, mask = np.array([[0, 1], [0, 0]]), np.array([[False, True]] * 2)
    method = DPO(dpo_beta=1.0, dpo_reference_free=True)
    loss, gradient = preference_loss_and_gradient(logits, labels, mask, method=method)
    np.testing.assert_allclose(loss.losses, [np.log(4 / 3)], rtol=1e-14)
    # one-hot less (1/4, 3/4), times -q for the chosen and +q for the rejected answer
    expected = [[[0.0625, -0.0625], [0.0, 0.0]], [[0.1875, -0.1875], [0.0, 0.0]]]
    np.testing.assert_allclose(gradient, expected, rtol=1e-14)


@each_method
@each_nll
def test_the_loss_is_that_of_the_log_probabilities(method, nll):
    arguments = sample()
    found = preference_loss_and_gradient(*arguments, **beside(), method=method, nll=nll)[0]
    expected = in_two_steps(*arguments, **beside(), method=method, nll=nll)
    for name in ("losses", "rewards_chosen", "rewards_rejected"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@each_method
@each_nll
def test_the_gradient_of_the_mean_agrees_with_central_differences(method, nll):
    logits, labels, mask = sample(pairs=2, tokens=4, vocabulary=3)
    others = beside(pairs=2)
    step, expected = 1e-5, np.zeros_like(logits)
    for at in np.ndindex(logits.shape):
        ends = []
        for sign in (1, -1):
            moved = logits.copy()
            moved[at] += sign * step
            ends.append(float(in_two_steps(moved, labels, mask, **others, method=method, nll=nll).mean))
        expected[at] = (ends[0] - ends[1]) / (2 * step)
    found = preference_loss_and_gradient(logits, labels, mask, **others, method=method, nll=nll)[1]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@each_method
@pytest.mark.parametrize(("dtype", "atol"), [(np.float32, 1e-6), (np.float16, 2e-3)])
def test_logits_of_less_digits_have_a_gradient_of_their_own_type(method, dtype, atol):
    logits, labels, mask = sample(dtype=dtype)
    loss, found = preference_loss_and_gradient(logits, labels, mask, **beside(), method=method)
    wide, expected = preference_loss_and_gradient(logits.astype(float), labels, mask, **beside(), method=method)
    assert (found.dtype, loss.losses.dtype) == (dtype, np.float64)
    np.testing.assert_allclose(loss.losses, wide.losses, rtol=1e-5)
    np.testing.assert_allclose(found, expected, atol=atol)


@each_method
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_the_gradient_is_written_where_it_is_asked_for_even_over_the_logits(method, dtype):
    logits, labels, mask = sample(dtype=dtype)
    loss, expected = preference_loss_and_gradient(logits, labels, mask, **beside(), method=method)
    room, place = np.full_like(logits, np.nan), logits.copy()
    for given, out in ((logits, room), (place, place)):
        again, found = preference_loss_and_gradient(given, labels, mask, **beside(), method=method, out=out)
        assert found is out
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(again.losses, loss.losses)


def test_logits_are_left_as_they_were():
    logits, labels, mask = sample()
    logits.flags.writeable = False
    before = logits.copy()
    preference_loss_and_gradient(logits, labels, mask, **beside())
    np.testing.assert_array_equal(logits, before)


def test_a_pair_of_weight_zero_has_no_gradient_and_keeps_its_place_in_the_mean():
    logits, labels, mask = sample()
    gradient = preference_loss_and_gradient(logits, labels, mask, **beside() | {"weights": [1.0, 0.0, 1.0]})[1]
    whole = preference_loss_and_gradient(logits, labels, mask, **beside() | {"weights": None})[1]
    assert not np.any(gradient[[1, 4]])
    np.testing.assert_array_equal(gradient[[0, 2, 3, 5]], whole[[0, 2, 3, 5]])


def test_an_odd_number_of_answers_is_refused():
    logits, labels, mask = sample()
    with pytest.raises(
        ValueError, match=r"^logits: expected chosen and rejected answers, one of each a pair, found 5$"
    ):
        preference_loss_and_gradient(logits[:5], labels[:5], mask[:5])


def test_an_answer_without_scored_tokens_is_named():
    logits, labels, mask = sample()
    mask[4] = False
    with pytest.raises(ValueError, match=r"^rejected_lengths\[1\]: expected at least 1 scored token, found 0"):
        preference_loss_and_gradient(logits, labels, mask, **beside())


def test_a_missing_reference_is_named():
    with pytest.raises(ValueError, match=r"^reference_chosen_logps: needed, because the method has a reference"):
        preference_loss_and_gradient(*sample())


@pytest.mark.parametrize("shape", [(6, 6, 4), (7, 6, 5), (6, 5)])
def test_room_of_another_shape_is_refused_before_it_is_written(shape):
    out = np.full(shape, 7.0)
    with pytest.raises(ValueError, match=rf"^out: expected shape \(6, 6, 5\) like logits, found \({shape[0]}, "):
        preference_loss_and_gradient(*sample(), **beside(), out=out)
    assert np.all(out == 7)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.bool_])
def test_room_of_another_dtype_is_refused_before_it_is_written(dtype):
    out = np.ones((6, 6, 5), dtype)
    sentence = rf"^out: expected dtype float64 like logits, found {np.dtype(dtype)}$"
    with pytest.raises(ValueError, match=sentence):
        preference_loss_and_gradient(*sample(), **beside(), out=out)
    assert np.all(out == 1)


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        (np.zeros((6, 6, 5)).tolist(), r"expected an array, found list; numpy\.asarray makes one of it$"),
        (xps.zeros((6, 6, 5)), r"expected an array of the library that logits is of, found array_api_strict\."),
    ],
    ids=["list", "another library"],
)
def test_room_that_is_no_array_of_the_library_is_refused(out, sentence):
    with pytest.raises(ValueError, match=f"^out: {sentence}"):
        preference_loss_and_gradient(*sample(), **beside(), out=out)


def test_lists_are_refused_with_what_to_do():
    logits, labels, mask = sample()
    with pytest.raises(ValueError, match=r"^logits: expected an array, found list; numpy\.asarray makes one of it$"):
        preference_loss_and_gradient(logits.tolist(), labels, mask, **beside())


def test_arrays_that_cannot_be_written_are_refused_with_what_to_do():
    arguments = [xps.asarray(array) for array in sample()]
    sentence = r"^logits: expected an array of NumPy, PyTorch or CuPy, found array_api_strict\..*; differentiate "
    with pytest.raises(TypeError, match=sentence):
        preference_loss_and_gradient(*arguments, method=METHODS["reference-free"])


def test_jax_arrays_are_refused_with_what_to_do():
    jax = pytest.importorskip("jax", reason="jax is not installed: pip install 'jax>=0.10,<0.11'")
    arguments = [jax.numpy.asarray(array) for array in sample(dtype=np.float32)]
    with pytest.raises(TypeError, match=r"found jax.*; differentiate `preference_loss` of `sequence_logps` instead$"):
        preference_loss_and_gradient(*arguments, method=METHODS["reference-free"])


@each_method
@each_nll
@pytest.mark.parametrize("block", [1, 12, 1 << 18])
def test_torch_agrees_with_its_autograd_over_log_softmax(torch, monkeypatch, method, nll, block):
    monkeypatch.setattr(logps, "_BLOCK", block)
    logits, labels, mask = (torch.from_numpy(array) for array in sample())
    others = {name: torch.from_numpy(values) for name, values in beside().items()}
    tracked = logits.clone().requires_grad_()
    per_token = torch.log_softmax(tracked[:, :-1], 2).gather(2, labels[:, 1:, None])[..., 0] * mask[:, 1:]
    sums, lengths = per_token.sum(1), mask.sum(1)
    preference_loss(
        policy_chosen_logps=sums[:3], policy_rejected_logps=sums[3:], chosen_lengths=lengths[:3],
        rejected_lengths=lengths[3:], **others, method=method, nll=nll,
    ).mean.backward()  # fmt: skip
    found = preference_loss_and_gradient(logits, labels, mask, **others, method=method, nll=nll)[1]
    torch.testing.assert_close(found, tracked.grad, rtol=1e-10, atol=1e-14)


@each_method
@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-6), ("float16", 2e-3), ("bfloat16", 2e-2)])
def test_torch_logits_of_less_digits_and_room_for_their_gradient(torch, method, dtype, atol):
    logits, labels, mask = (torch.from_numpy(array) for array in sample())
    narrow = logits.to(getattr(torch, dtype))
    others = {name: torch.from_numpy(values) for name, values in beside().items()}
    loss, found = preference_loss_and_gradient(narrow, labels, mask, **others, method=method)
    wide, expected = preference_loss_and_gradient(narrow.double(), labels, mask, **others, method=method)
    assert (found.dtype, loss.losses.dtype) == (narrow.dtype, torch.float64)
    torch.testing.assert_close(loss.losses, wide.losses, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=atol)
    room, place = torch.full_like(narrow, torch.nan), narrow.clone()
    for given, out in ((narrow, room), (place, place)):
        preference_loss_and_gradient(given, labels, mask, **others, method=method, out=out)
        assert torch.equal(out, found)


def test_torch_logits_that_carry_gradients_take_the_analytic_one_on_from_there(torch):
    logits, labels, mask = (torch.from_numpy(array) for array in sample())
    others = {name: torch.from_numpy(values).requires_grad_() for name, values in beside().items()}
    weight = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    scaled = weight * logits
    gradient = preference_loss_and_gradient(scaled, labels, mask, **others)[1]
    assert not gradient.requires_grad
    expected = (gradient * logits).sum()
    scaled.backward(gradient)
    torch.testing.assert_close(weight.grad, expected)


def test_torch_logits_that_carry_gradients_may_be_written_over(torch):
    logits, labels, mask = (torch.from_numpy(array) for array in sample())
    others = {name: torch.from_numpy(values) for name, values in beside().items()}
    expected = preference_loss_and_gradient(logits, labels, mask, **others)[1]
    leaf = logits.clone().requires_grad_()
    preference_loss_and_gradient(leaf, labels, mask, **others, out=leaf)
    assert torch.equal(leaf.detach(), expected)
