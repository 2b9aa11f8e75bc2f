import tracemalloc
import types
from concurrent.futures import ThreadPoolExecutor

import array_api_strict as xps
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.losses import logps, sequence_logps, token_logps
from preftune.losses._arrays import namespace

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


def gradient_of(logits, labels, mask, pull=None, out=None):
    """Return the analytic gradient of the sum of pull * log-probabilities."""
    _, normalizers = logps.with_normalizers(namespace(logits), logits, labels, mask)
    pull = np.arange(1.0, mask.size + 1).reshape(mask.shape) / mask.size if pull is None else pull
    return logps.logits_gradient(logits, labels, scored=mask, normalizers=normalizers, pull=pull, out=out)


def gradient_oracle(logits, labels, mask):
    """Return pull * (one-hot - softmax) at t-1 for every scored token t, else 0, token by token."""
    found = np.zeros(logits.shape)
    for b, t in zip(*np.nonzero(mask), strict=True):
        powers = np.exp(logits[b, t - 1].astype(np.float64) - logits[b, t - 1].max())
        pull = (b * mask.shape[1] + t + 1) / mask.size
        found[b, t - 1] = -pull * powers / powers.sum()
        found[b, t - 1, labels[b, t]] += pull
    return found


@pytest.fixture
def jax():
    """Return JAX with float64 switched on for one test."""
    jax = pytest.importorskip("jax", reason="jax is not installed: pip install 'jax>=0.10,<0.11'")
    with jax.enable_x64(True):
        yield jax


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


@pytest.mark.parametrize("block", [1, 22, 33, 34, 88, 10_000])  # of 11 logits a token: 1, 1, 2, 3, 3, 8 and all
@pytest.mark.parametrize("library", [np.asarray, xps.asarray], ids=["numpy", "strict"])
def test_blocks_of_any_length_fit_together(monkeypatch, library, block):
    arguments = [library(array) for array in sample()]
    expected = np.asarray(token_logps(*arguments))
    for name in ("_BLOCK", "_BLOCK_BESIDE"):  # what is not on the processor has its own length
        monkeypatch.setattr(logps, name, block)
    np.testing.assert_array_equal(np.asarray(token_logps(*arguments)), expected)


@pytest.mark.parametrize("block", [1, 33, 88, 10_000])
def test_the_gradient_does_not_depend_on_the_blocks(monkeypatch, block):
    expected = gradient_of(*sample())
    monkeypatch.setattr(logps, "_BLOCK", block)
    np.testing.assert_array_equal(gradient_of(*sample()), expected)


@pytest.fixture
def use_cores(monkeypatch):
    """Return what sets the number of cores that this process may use."""
    return lambda count: monkeypatch.setattr(
        logps, "os", types.SimpleNamespace(sched_getaffinity=lambda _: range(count))
    )


@pytest.mark.parametrize("threads", [1, 2, 3, 64])
def test_any_number_of_threads_gives_the_same_bits(monkeypatch, use_cores, threads):
    arguments = sample(rows=5, tokens=13, dtype=np.float32)
    monkeypatch.setattr(logps, "_BLOCK", 22)
    use_cores(1)
    expected = token_logps(*arguments), gradient_of(*arguments)
    use_cores(threads)
    np.testing.assert_array_equal(token_logps(*arguments), expected[0])
    np.testing.assert_array_equal(gradient_of(*arguments), expected[1])


@pytest.mark.parametrize(("known", "threads"), [(None, 1), (1, 1), (4, 4)])
def test_where_the_system_does_not_say_which_cores_may_be_used_all_that_are_known_are(monkeypatch, known, threads):
    started = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, count: int) -> None:
            started.append(count)
            super().__init__(count)

    arguments = sample(rows=5, tokens=13)
    expected = token_logps(*arguments)
    monkeypatch.setattr(logps, "_BLOCK", 22)
    monkeypatch.setattr(logps, "os", types.SimpleNamespace(cpu_count=lambda: known))
    monkeypatch.setattr(logps, "ThreadPoolExecutor", Pool)
    np.testing.assert_array_equal(token_logps(*arguments), expected)
    assert started == [threads] * (threads > 1)


@pytest.mark.parametrize(
    "scored",
    [
        [0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 1, 1],
        [0, 1, 0, 1, 0, 1],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 1],
        [0, 1, 0, 0, 0, 0],
    ],
)
@pytest.mark.parametrize("block", [11, 22, 10_000])
def test_masks_with_holes_score_what_they_say(monkeypatch, scored, block):
    monkeypatch.setattr(logps, "_BLOCK", block)
    logits, labels, _ = sample(rows=2, tokens=6)
    mask = np.array([scored, scored[:1] + scored[:0:-1]], bool)
    found = token_logps(logits, labels, mask)
    np.testing.assert_allclose(found, oracle(logits, labels, mask), rtol=1e-12)
    assert np.all(found[~mask] == 0)
    gradient = gradient_of(logits, labels, mask)
    np.testing.assert_allclose(gradient, gradient_oracle(logits, labels, mask), rtol=1e-10, atol=1e-14)
    read = np.roll(mask, -1, axis=1)
    assert np.all(gradient[~read] == 0)
    assert np.all(np.any(gradient[read] != 0, axis=1))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("shift", [-3e4, -200.0, -60.0, 0.0, 60.0, 200.0, 3e4])
def test_logits_of_any_level_are_scored_alike(dtype, shift):
    logits, labels, mask = sample()
    moved = (logits + shift).astype(dtype)
    tops = moved.max(axis=2, keepdims=True).astype(np.float64)
    expected = oracle(moved.astype(np.float64) - tops, labels, mask)
    found = token_logps(moved, labels, mask)
    assert np.all(np.isfinite(found))
    rounding = {np.float64: 1e-15, np.float32: 1e-7, np.float16: 1e-7}[dtype]  # halves are computed as singles
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=rounding * max(1, abs(shift)))


@pytest.mark.parametrize("level", [-103.0, -100.0, -95.0, -90.0, -88.0, 87.0, 88.0, 88.5])
def test_exponents_at_the_ends_of_float32_keep_their_digits(level):
    logits, labels, mask = sample(dtype=np.float32)
    logits = level + logits / 100  # below -87.3 their exponents are denormal, above 88.72 infinite
    found = token_logps(logits, labels, mask)
    np.testing.assert_allclose(found, oracle(logits, labels, mask), rtol=1e-6)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("library", [np.asarray, xps.asarray], ids=["numpy", "strict"])
def test_logits_that_score_no_token_are_not_read(library, wrong):
    logits, labels, mask = sample()
    expected = token_logps(*(library(array) for array in (logits, labels, mask)))
    logits[~np.roll(mask, -1, axis=1)] = wrong
    found = token_logps(*(library(array) for array in (logits, labels, mask)))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def test_rows_that_need_care_and_rows_that_do_not_share_a_block():
    logits, labels, mask = sample(rows=1, tokens=6, dtype=np.float32)
    mask[:, 1:] = True
    expected = token_logps(logits, labels, mask)
    logits[0, 2] -= 1000
    logits[0, 4] += 1000
    np.testing.assert_allclose(token_logps(logits, labels, mask), expected, atol=2e-4)


def test_a_token_that_cannot_be_has_no_probability_and_no_warning():
    logits = np.array([[[0.0, -np.inf], [0.0, 0.0]]], np.float32)
    found = token_logps(logits, np.array([[0, 1]]), np.array([[False, True]]))
    np.testing.assert_array_equal(found, [[0.0, -np.inf]])


def test_where_all_tokens_but_one_cannot_be_that_one_is_certain():
    logits = np.full((1, 2, 5), -np.inf, np.float32)
    logits[0, 0, 3] = -700  # the fast sum of exponents is 0
    found = token_logps(logits, np.array([[0, 3]]), np.array([[False, True]]))
    np.testing.assert_array_equal(found, [[0.0, 0.0]])


MEBIBYTE = 1 << 20


def traced(work) -> int:
    """Return the bytes that the work had allocated at its highest, over what stood before it."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = work()
        peak = tracemalloc.get_traced_memory()[1]
        del result
    finally:
        tracemalloc.stop()
    return peak - before


@pytest.fixture(scope="module")
def large():
    """Return 64 MiB of logits, with labels, and a mask that scores all that can be."""
    logits = np.random.default_rng(1).standard_normal((2, 256, 1 << 15), np.float32)
    labels = np.zeros((2, 256), np.int64)
    mask = np.ones((2, 256), bool)
    mask[:, 0] = False
    return logits, labels, mask


def test_no_array_of_the_logits_size_is_made(use_cores, large):
    use_cores(2)
    assert traced(lambda: sequence_logps(*large)) < 8 * MEBIBYTE  # a buffer of 1 MiB for each of two threads


def test_the_gradient_is_the_only_array_of_the_logits_size(use_cores, large):
    use_cores(2)
    assert large[0].nbytes <= traced(lambda: gradient_of(*large)) < large[0].nbytes + 8 * MEBIBYTE


@pytest.mark.parametrize("work", [sequence_logps, gradient_of])
def test_a_few_logits_take_little_room(work):
    arguments = sample()
    assert traced(lambda: work(*arguments)) < MEBIBYTE // 8


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
    wide = np.zeros((3, 9, 22))
    wide[:, ::-1, ::2] = logits
    for view in (np.asfortranarray(logits), wide[:, ::-1, ::2]):
        view.flags.writeable = labels.flags.writeable = mask.flags.writeable = False
        np.testing.assert_allclose(token_logps(view, labels, mask), token_logps(logits, labels, mask), rtol=1e-14)
        found = gradient_of(view, labels, mask)
        np.testing.assert_allclose(found, gradient_of(logits, labels, mask), rtol=1e-12, atol=1e-15)


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
def test_arrays_of_two_libraries_are_refused_with_the_argument(name, at):
    arguments = [xps.asarray(array) for array in sample()]
    arguments[at] = np.asarray(arguments[at])
    sentence = (
        rf"^{name}: expected an array of the library that logits is of, found numpy\.ndarray; convert one of them$"
    )
    with pytest.raises(ValueError, match=sentence):
        token_logps(*arguments)


@pytest.mark.parametrize(("name", "at"), [("logits", 0), ("labels", 1), ("mask", 2)])
def test_lists_are_refused_with_what_to_do(name, at):
    arguments = list(sample())
    arguments[at] = arguments[at].tolist()
    with pytest.raises(ValueError, match=rf"^{name}: expected an array, found list; numpy\.asarray makes one of it$"):
        token_logps(*arguments)


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


@pytest.mark.parametrize("dtype", [np.int64, np.complex128, np.bool_])
def test_logits_that_are_no_real_numbers_are_refused(dtype):
    logits, labels, mask = sample()
    with pytest.raises(ValueError, match=rf"^logits: expected real numbers, found dtype {np.dtype(dtype)}$"):
        token_logps(logits.astype(dtype), labels, mask)


def test_the_gradient_of_one_token_by_hand():
    # softmax of (0, ln 3) is (1/4, 3/4); token 1 stands there: 2 * ((0, 1) - (1/4, 3/4))
    logits = np.array([[[0.0, np.log(3)], [5.0, 5.0]]])
    found = gradient_of(logits, np.array([[0, 1]]), np.array([[False, True]]), pull=np.array([[7.0, 2.0]]))
    np.testing.assert_allclose(found, [[[-0.5, 0.5], [0.0, 0.0]]], rtol=1e-15)


@pytest.mark.parametrize(("dtype", "atol"), [(np.float64, 1e-15), (np.float32, 1e-6), (np.float16, 5e-4)])
def test_the_gradient_agrees_with_one_hot_less_softmax(dtype, atol):
    arguments = sample(dtype=dtype)
    found = gradient_of(*arguments)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, gradient_oracle(*arguments), rtol=1e-12 if dtype is np.float64 else 0, atol=atol)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_the_gradient_may_be_written_into_an_array_or_into_the_logits(dtype):
    logits, labels, mask = sample(dtype=dtype)
    expected, room, place = gradient_of(logits, labels, mask), np.full_like(logits, np.nan), logits.copy()
    for out in (room, place):
        assert gradient_of(out if out is place else logits, labels, mask, out=out) is out
        np.testing.assert_array_equal(out, expected)


def test_every_position_of_the_gradient_adds_up_to_zero():
    np.testing.assert_allclose(gradient_of(*sample()).sum(axis=2), 0, atol=1e-14)


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


def test_jax_agrees_with_numpy_and_its_gradient_with_the_analytic_one(jax):
    logits, labels, mask = sample()
    arrays = [jax.numpy.asarray(array) for array in (logits, labels, mask)]
    sums, lengths = sequence_logps(*arrays)
    np.testing.assert_allclose(np.asarray(sums), sequence_logps(logits, labels, mask)[0], rtol=1e-13)
    np.testing.assert_array_equal(np.asarray(lengths), mask.sum(axis=1))
    pull = np.arange(1.0, mask.size + 1).reshape(mask.shape) / mask.size

    def total(logits):
        return (token_logps(logits, *arrays[1:]) * pull).sum()

    found = np.asarray(jax.grad(total)(arrays[0]))
    np.testing.assert_allclose(found, gradient_oracle(logits, labels, mask), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_jax_without_float64_scores_in_float32_and_says_nothing(dtype):
    jax = pytest.importorskip("jax", reason="jax is not installed: pip install 'jax>=0.10,<0.11'")
    logits, labels, mask = (jax.numpy.asarray(array) for array in sample(dtype=np.float32))
    narrow = logits.astype(dtype)
    found = token_logps(narrow, labels, mask)
    assert found.dtype == np.float32
    expected = oracle(np.asarray(narrow.astype("float32")), np.asarray(labels), np.asarray(mask))
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-5, atol=1e-6)


def test_a_gradient_of_jax_passes_by_what_cannot_be(jax):
    logits, labels, mask = sample()
    logits[:, :, 10] = -np.inf
    labels %= 10
    arrays = [jax.numpy.asarray(array) for array in (logits, labels, mask)]
    found = jax.grad(lambda each: sequence_logps(each, *arrays[1:])[0].sum())(arrays[0])
    assert np.all(np.isfinite(np.asarray(found)))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_gradient_of_jax_passes_by_what_scores_no_token(jax, wrong):
    logits, labels, mask = sample()
    logits[~np.roll(mask, -1, axis=1)] = wrong
    arrays = [jax.numpy.asarray(array) for array in (logits, labels, mask)]
    found = jax.grad(lambda each: sequence_logps(each, *arrays[1:])[0].sum())(arrays[0])
    expected = gradient_of(logits, labels, mask, pull=np.ones(mask.shape))
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-10, atol=1e-14)
