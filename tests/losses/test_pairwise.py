"""Every named loss, each held against a value worked by hand, plain floats, central differences and autograd."""

import inspect
import math
import re

import array_api_strict as xps
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.losses import (
    batch_token_nll,
    chosen_nll,
    conservative_dpo_loss,
    dpo_loss,
    hinge_loss,
    ipo_loss,
    length_normalized_dpo_loss,
    length_normalized_ipo_loss,
    reference_free_dpo_loss,
    robust_dpo_loss,
    simpo_loss,
)

FACT = settings(max_examples=60, deadline=None, database=None, derandomize=True)
LOGPS = ("policy_chosen_logps", "policy_rejected_logps", "reference_chosen_logps", "reference_rejected_logps")
LENGTHS = ("chosen_lengths", "rejected_lengths")
ARGUMENTS = LOGPS + LENGTHS

# One pair: chosen -10 against -11 on 2 tokens, rejected -14 against -12 on 4 tokens.
PAIR = dict(zip(ARGUMENTS, ([-10.0], [-14.0], [-11.0], [-12.0], [2], [4]), strict=True))
WORKED = {  # loss: its knobs, and its value for the pair
    dpo_loss: ({"beta": 0.1}, 0.5543552444685271),  # softplus(-0.3)
    reference_free_dpo_loss: ({"beta": 0.1}, 0.5130152523999526),  # softplus(-0.4)
    length_normalized_dpo_loss: ({"beta": 0.1}, 0.6443966600735709),  # softplus(-0.1 * (1/2 + 2/4))
    simpo_loss: ({"beta": 2.0, "gamma": 0.5}, 3.5297504182726205),  # softplus(-2 * (-10/2 + 14/4) + 0.5)
    # the DPO loss of the pair is 0.5543552444685271, that of the pair turned round 0.8543552444685271
    conservative_dpo_loss: ({"beta": 0.1, "label_smoothing": 0.2}, 0.6143552444685271),  # 0.55... + 0.2 * 0.3
    robust_dpo_loss: ({"beta": 0.1, "label_smoothing": 0.2}, 0.4543552444685271),  # (0.8 * 0.55.. - 0.2 * 0.85..) / 0.6
    ipo_loss: ({"beta": 0.1}, 4.0),  # (3 - 5) squared
    length_normalized_ipo_loss: ({"beta": 0.1}, 16.0),  # (1/2 + 2/4 - 5) squared
    hinge_loss: ({"beta": 0.1}, 0.7),  # 1 - 0.3
    chosen_nll: ({}, 5.0),  # 10 / 2
    batch_token_nll: ({}, 5.0),
}
WITH_BETA = [loss for loss, (knobs, _) in WORKED.items() if "beta" in knobs]
PER_TOKEN = [loss for loss in WORKED if "chosen_lengths" in inspect.signature(loss).parameters]
each_loss = pytest.mark.parametrize("loss", WORKED, ids=lambda loss: loss.__name__)


def among(losses):
    return pytest.mark.parametrize("loss", losses, ids=lambda loss: loss.__name__)


def needed(loss) -> list[str]:
    """Return the array arguments that a loss takes."""
    return [name for name in inspect.signature(loss).parameters if name in ARGUMENTS]


def compute(loss, arguments):
    """Return the loss of a batch, with the knobs of the worked case; what the loss does not take is left out."""
    return loss(**{name: arguments[name] for name in needed(loss)}, **WORKED[loss][0])


def batch(seed: int = 3, size: int = 7) -> dict[str, np.ndarray]:
    """Pairs of mixed lengths, with a one-token answer on either side, a tie, and one pair at its reference."""
    random = np.random.default_rng(seed)
    lengths = [random.integers(1, 40, size) for _ in range(2)]
    lengths[0][0] = lengths[1][1] = 1
    policy = [-random.uniform(0.5, 3, size) * n for n in lengths]
    reference = [logps + random.normal(0, 4, size) for logps in policy]
    for side in (*policy, *reference):
        side[2] = -8.5
    return dict(zip(ARGUMENTS, (*policy, *reference, *lengths), strict=True))


def softplus(x: float) -> float:
    return x + math.log(1 + math.exp(-x)) if x > 0 else math.log(1 + math.exp(x))


def oracle(loss, pair: dict[str, float], *, tokens: float, size: int) -> float:
    """Return the loss of one pair of a batch of `size` pairs with `tokens` chosen tokens, from the papers' formulas."""
    p_c, p_r, r_c, r_r, n_c, n_r = (pair[name] for name in ARGUMENTS)
    knobs = WORKED[loss][0]
    beta, gamma, noise = (knobs.get(name, 0.0) for name in ("beta", "gamma", "label_smoothing"))
    whole, split = (p_c - r_c) - (p_r - r_r), (p_c - r_c) / n_c - (p_r - r_r) / n_r
    right, flipped = softplus(-beta * whole), softplus(beta * whole)
    values = {
        dpo_loss: lambda: right,
        reference_free_dpo_loss: lambda: softplus(-beta * (p_c - p_r)),
        length_normalized_dpo_loss: lambda: softplus(-beta * split),
        simpo_loss: lambda: softplus(gamma - beta * (p_c / n_c - p_r / n_r)),
        conservative_dpo_loss: lambda: (1 - noise) * right + noise * flipped,
        robust_dpo_loss: lambda: ((1 - noise) * right - noise * flipped) / (1 - 2 * noise),
        ipo_loss: lambda: (whole - 1 / (2 * beta)) ** 2,
        length_normalized_ipo_loss: lambda: (split - 1 / (2 * beta)) ** 2,
        hinge_loss: lambda: max(0.0, 1 - beta * whole),
        chosen_nll: lambda: -p_c / n_c,
        batch_token_nll: lambda: -p_c * size / tokens,
    }
    return values[loss]()


def central_difference(loss, arguments, name, step=1e-5):
    """Return d (sum of the losses) / d one of the arguments, (B,)."""
    found = []
    for pair in range(arguments[name].size):
        moved = [arguments[name].astype(float) for _ in range(2)]
        moved[0][pair] += step
        moved[1][pair] -= step
        high, low = (compute(loss, arguments | {name: each}).sum() for each in moved)
        found.append((high - low) / (2 * step))
    return np.array(found)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")


@pytest.fixture
def jax():
    """Return JAX with float64 switched on for one test."""
    jax = pytest.importorskip("jax", reason="jax is not installed: pip install 'jax>=0.10,<0.11'")
    with jax.enable_x64(True):
        yield jax


@each_loss
def test_a_pair_by_hand(loss):
    np.testing.assert_allclose(compute(loss, PAIR), [WORKED[loss][1]], rtol=1e-14)


def test_the_two_token_means_by_hand():
    logps, lengths = [-10.0, -4.0], [2, 8]
    # 10/2 and 4/8, whose mean is 2.75; 14 nats on 10 tokens are 1.4, the mean of 10 * 2/10 and 4 * 2/10
    np.testing.assert_allclose(chosen_nll(policy_chosen_logps=logps, chosen_lengths=lengths), [5, 0.5], rtol=1e-15)
    of_batch = batch_token_nll(policy_chosen_logps=logps, chosen_lengths=lengths)
    np.testing.assert_allclose(of_batch, [2.0, 0.8], rtol=1e-15)
    assert of_batch.mean() == pytest.approx(1.4, rel=1e-15)


def test_the_knobs_have_the_values_of_the_papers_unless_told():
    defaults = {
        loss.__name__: {
            name: parameter.default
            for name, parameter in inspect.signature(loss).parameters.items()
            if parameter.default is not parameter.empty
        }
        for loss in WORKED
    }
    assert defaults == {
        "dpo_loss": {"beta": 0.1},
        "reference_free_dpo_loss": {"beta": 0.1},
        "length_normalized_dpo_loss": {"beta": 0.1},
        "simpo_loss": {"beta": 2.0, "gamma": 0.0},
        "conservative_dpo_loss": {"beta": 0.1, "label_smoothing": 0.1},
        "robust_dpo_loss": {"beta": 0.1, "label_smoothing": 0.1},
        "ipo_loss": {"beta": 0.1},
        "length_normalized_ipo_loss": {"beta": 0.1},
        "hinge_loss": {"beta": 0.1},
        "chosen_nll": {},
        "batch_token_nll": {},
    }


@each_loss
def test_a_batch_agrees_with_an_oracle_in_plain_floats(loss):
    arguments = batch()
    pairs = [{name: float(values[i]) for name, values in arguments.items()} for i in range(7)]
    tokens = float(sum(arguments["chosen_lengths"]))
    expected = [oracle(loss, pair, tokens=tokens, size=7) for pair in pairs]
    np.testing.assert_allclose(compute(loss, arguments), expected, rtol=1e-12, atol=1e-15)


@each_loss
def test_arrays_of_the_standard_give_the_same_numbers(loss):
    arguments = batch()
    found = compute(loss, {name: xps.asarray(values) for name, values in arguments.items()})
    np.testing.assert_allclose(np.asarray(found), compute(loss, arguments), rtol=1e-14)


@each_loss
def test_lists_and_integers_give_the_same_numbers_as_arrays(loss):
    integers = {name: np.round(values).astype(np.int64) for name, values in batch().items()}
    expected = compute(loss, {name: values.astype(np.float64) for name, values in integers.items()})
    for arguments in (integers, {name: values.tolist() for name, values in integers.items()}):
        np.testing.assert_array_equal(compute(loss, arguments), expected)


@each_loss
def test_float32_inputs_are_computed_in_float64(loss):
    narrow = {name: values.astype(np.float32) for name, values in batch().items()}
    found = compute(loss, narrow)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(
        found, compute(loss, {name: values.astype(np.float64) for name, values in narrow.items()})
    )


@each_loss
def test_non_contiguous_and_read_only_arrays_are_read_and_left_alone(loss):
    arguments = batch()
    table = np.zeros((7, 2, 6))
    table[:, 1, :] = np.stack(list(arguments.values()), axis=1)
    table.flags.writeable = False
    views = {name: table[:, 1, column] for column, name in enumerate(arguments)}
    np.testing.assert_array_equal(compute(loss, views), compute(loss, arguments))


@each_loss
@pytest.mark.parametrize("size", [1e3, 1e6, 1e12])
def test_extreme_margins_stay_finite(loss, size):
    pairs = {name: [0.0, 0.0] for name in LOGPS} | {name: [1, 1] for name in LENGTHS}
    found = compute(loss, pairs | {"policy_chosen_logps": [-size, 0.0], "policy_rejected_logps": [0.0, -size]})
    assert np.all(np.isfinite(found))


@among(WITH_BETA)
def test_a_tie_costs_what_a_margin_of_zero_costs(loss):
    tie = {name: [-8.5] for name in LOGPS} | {name: [3] for name in LENGTHS}
    expected = {
        simpo_loss: 0.9740769841801067,  # softplus(0.5)
        ipo_loss: 25.0,
        length_normalized_ipo_loss: 25.0,
        hinge_loss: 1.0,
    }
    np.testing.assert_allclose(compute(loss, tie), [expected.get(loss, math.log(2))], rtol=1e-15)


@among([loss for loss in PER_TOKEN if loss is not batch_token_nll])
def test_one_token_answers_are_divided_by_one(loss):
    ones = batch() | {name: np.ones(7, np.int64) for name in LENGTHS}
    whole = {
        length_normalized_dpo_loss: lambda: compute(dpo_loss, ones),
        length_normalized_ipo_loss: lambda: compute(ipo_loss, ones),
        chosen_nll: lambda: -ones["policy_chosen_logps"],
        simpo_loss: lambda: np.logaddexp(0, 0.5 - 2 * (ones["policy_chosen_logps"] - ones["policy_rejected_logps"])),
    }
    np.testing.assert_allclose(compute(loss, ones), whole[loss](), rtol=1e-12)


def test_hinge_is_zero_once_the_margin_is_one_and_not_before():
    arguments = {name: [0.0, 0.0, 0.0] for name in LOGPS} | {"policy_chosen_logps": [9.0, 10.0, 11.0]}
    np.testing.assert_allclose(hinge_loss(**arguments), [0.1, 0.0, 0.0], rtol=1e-14, atol=1e-15)


def test_ipo_is_zero_at_its_target_and_rises_to_both_sides():
    arguments = {name: [0.0, 0.0, 0.0] for name in LOGPS} | {"policy_chosen_logps": [3.0, 5.0, 7.0]}
    np.testing.assert_array_equal(ipo_loss(**arguments), [4.0, 0.0, 4.0])


@among(WITH_BETA)
@pytest.mark.parametrize("beta", [0, -0.1, math.nan, math.inf])
def test_a_beta_that_is_not_above_zero_is_refused(loss, beta):
    arrays = {name: PAIR[name] for name in needed(loss)}
    with pytest.raises(ValueError, match=rf"^beta: expected a number above 0, found {beta}; the DPO paper takes 0\.1$"):
        loss(**arrays, beta=beta)


NO_NUMBERS = ["0.1", None, [0.1], 0.1j, np.array([0.1, 0.2])]


@among(WITH_BETA)
@pytest.mark.parametrize("beta", NO_NUMBERS, ids=repr)
def test_a_beta_that_is_no_number_is_refused(loss, beta):
    arrays = {name: PAIR[name] for name in needed(loss)}
    sentence = rf"^beta: expected a number above 0, found {re.escape(repr(beta))}; the DPO paper takes 0\.1$"
    with pytest.raises(ValueError, match=sentence):
        loss(**arrays, beta=beta)


@pytest.mark.parametrize("gamma", NO_NUMBERS, ids=repr)
def test_a_gamma_that_is_no_number_is_refused(gamma):
    arrays = {name: PAIR[name] for name in needed(simpo_loss)}
    sentence = rf"^gamma: expected a number of 0 or more, found {re.escape(repr(gamma))}; "
    with pytest.raises(ValueError, match=sentence):
        simpo_loss(**arrays, gamma=gamma)


@among([conservative_dpo_loss, robust_dpo_loss])
@pytest.mark.parametrize("share", NO_NUMBERS, ids=repr)
def test_a_share_of_flipped_labels_that_is_no_number_is_refused(loss, share):
    sentence = rf"^label_smoothing: expected a number from 0 to below 0\.5, found {re.escape(repr(share))}; "
    with pytest.raises(ValueError, match=sentence):
        loss(**{name: PAIR[name] for name in LOGPS}, label_smoothing=share)


@among(WITH_BETA)
@pytest.mark.parametrize("array", [np.asarray, xps.asarray], ids=["numpy", "strict"])
def test_knobs_may_be_arrays_without_dimensions(loss, array):
    knobs, expected = WORKED[loss]
    arguments = {name: array(PAIR[name]) for name in needed(loss)} | {name: array(knobs[name]) for name in knobs}
    np.testing.assert_allclose(np.asarray(loss(**arguments)), [expected], rtol=1e-14)


@pytest.mark.parametrize("gamma", [-0.1, math.nan, math.inf])
def test_a_gamma_below_zero_is_refused(gamma):
    arrays = {name: PAIR[name] for name in needed(simpo_loss)}
    sentence = rf"^gamma: expected a number of 0 or more, found {gamma}; it is the margin that is asked for$"
    with pytest.raises(ValueError, match=sentence):
        simpo_loss(**arrays, gamma=gamma)


@among([conservative_dpo_loss, robust_dpo_loss])
@pytest.mark.parametrize("share", [-0.1, 0.5, 1, math.nan])
def test_a_share_of_flipped_labels_that_is_half_or_more_is_refused(loss, share):
    sentence = (
        rf"^label_smoothing: expected a number from 0 to below 0\.5, found {share}; "
        r"it is the share of labels that are flipped$"
    )
    with pytest.raises(ValueError, match=sentence):
        loss(**{name: PAIR[name] for name in LOGPS}, label_smoothing=share)


@each_loss
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (-1.0, r"expected shape \(B,\), found \(\); give one number a pair"),
        ([[-1.0, -2.0]], r"expected shape \(B,\), found \(1, 2\); give one number a pair"),
        ([-1.0, -2.0, -3.0], r"expected 2 pairs like policy_chosen_logps, found 3"),
        ([True, False], r"expected real numbers, found dtype bool"),
        ([1j, 2j], r"expected real numbers, found dtype complex128"),
    ],
)
def test_an_argument_of_the_wrong_kind_is_named(loss, wrong, message):
    arguments = {name: values * 2 for name, values in PAIR.items()}
    last = needed(loss)[-1]
    with pytest.raises(ValueError, match=f"^{last}: {message}$"):
        compute(loss, arguments | {last: wrong})


@each_loss
def test_an_argument_that_is_none_is_named(loss):
    for name in needed(loss):
        with pytest.raises(ValueError, match=f"^{name}: needed, found None; give one number a pair$"):
            compute(loss, PAIR | {name: None})


@each_loss
def test_a_ragged_list_is_named(loss):
    last = needed(loss)[-1]
    with pytest.raises(ValueError, match=rf"^{last}: expected shape \(B,\), found lists of several lengths; "):
        compute(loss, PAIR | {last: [[1.0], [1.0, 2.0]]})


@each_loss
def test_an_empty_batch_is_refused(loss):
    with pytest.raises(ValueError, match=r"^policy_chosen_logps: expected at least one pair, found an empty array$"):
        compute(loss, {name: [] for name in ARGUMENTS})


@among(PER_TOKEN)
@pytest.mark.parametrize(("length", "found"), [(0, "0"), (-3, "-3"), (math.nan, "nan"), (0.5, "0.5")])
def test_a_side_with_nothing_scored_is_named_with_its_pair(loss, length, found):
    arguments = {name: values * 3 for name, values in PAIR.items()}
    side = needed(loss)[-1]
    sentence = (
        rf"^{side}\[1\]: expected at least 1 scored token, found {found}; "
        r"drop the pair, or look for an empty or cut-away answer$"
    )
    with pytest.raises(ValueError, match=sentence):
        compute(loss, arguments | {side: [2, length, 0]})


@each_loss
def test_arrays_of_two_libraries_are_refused_with_the_argument(loss):
    arrays = {name: np.asarray(values) for name, values in PAIR.items()}
    last = needed(loss)[-1]
    sentence = (
        rf"^{last}: expected an array of the library that policy_chosen_logps is of, "
        r"found array_api_strict\._array_object\.Array; convert one of them$"
    )
    with pytest.raises(ValueError, match=sentence):
        compute(loss, arrays | {last: xps.asarray(PAIR[last])})


margins = st.floats(-300, 300)
betas = st.floats(0.01, 10)
shares = st.floats(0, 0.49)


def of_margin(loss, d: float, **knobs: float) -> float:
    """Return the loss of one pair whose log-ratios differ by d."""
    pair = {name: [0.0] for name in LOGPS} | {"policy_chosen_logps": [d]} | {name: [1] for name in LENGTHS}
    return float(loss(**{name: pair[name] for name in needed(loss)}, **knobs)[0])


@FACT
@given(margins, betas)
def test_turning_a_pair_round_changes_the_dpo_loss_by_z(d, beta):
    difference = of_margin(dpo_loss, -d, beta=beta) - of_margin(dpo_loss, d, beta=beta)
    assert difference == pytest.approx(beta * d, rel=1e-12, abs=1e-12)


@FACT
@given(margins, betas, shares)
def test_the_robust_loss_is_the_clean_loss_in_expectation_over_flipped_labels(d, beta, noise):
    kept, flipped = (of_margin(robust_dpo_loss, side, beta=beta, label_smoothing=noise) for side in (d, -d))
    clean = of_margin(dpo_loss, d, beta=beta)
    assert (1 - noise) * kept + noise * flipped == pytest.approx(clean, rel=1e-9, abs=1e-9)


@FACT
@given(margins, betas, shares)
def test_the_conservative_loss_is_the_dpo_loss_in_expectation_over_flipped_labels(d, beta, noise):
    found = of_margin(conservative_dpo_loss, d, beta=beta, label_smoothing=noise)
    kept, flipped = of_margin(dpo_loss, d, beta=beta), of_margin(dpo_loss, -d, beta=beta)
    assert found == pytest.approx((1 - noise) * kept + noise * flipped, rel=1e-12)


@FACT
@given(margins, betas)
def test_without_flipped_labels_conservative_and_robust_are_dpo(d, beta):
    plain = of_margin(dpo_loss, d, beta=beta)
    assert of_margin(conservative_dpo_loss, d, beta=beta, label_smoothing=0) == plain
    assert of_margin(robust_dpo_loss, d, beta=beta, label_smoothing=0) == plain


@FACT
@given(margins, betas, st.floats(0, 5))
def test_gamma_is_absolute_and_the_ratio_of_other_libraries_is_gamma_over_beta(d, beta, ratio):
    absolute = of_margin(simpo_loss, d, beta=beta, gamma=ratio * beta)
    assert absolute == pytest.approx(of_margin(simpo_loss, d - ratio, beta=beta), rel=1e-9, abs=1e-12)


@FACT
@given(margins, betas, st.floats(0.1, 10))
def test_beta_and_the_difference_trade_one_for_the_other_in_every_logistic_loss(d, beta, factor):
    for loss in (dpo_loss, conservative_dpo_loss, robust_dpo_loss, hinge_loss, reference_free_dpo_loss):
        one = of_margin(loss, d, beta=beta)
        assert of_margin(loss, d / factor, beta=beta * factor) == pytest.approx(one, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("loss", "name"),
    [(loss, name) for loss in WORKED for name in needed(loss) if name in LOGPS],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_torch_autograd_agrees_with_central_differences(torch, loss, name):
    arguments = batch()
    tensors = {each: torch.from_numpy(values) for each, values in arguments.items()}
    tensors[name] = tensors[name].clone().requires_grad_()
    compute(loss, tensors).sum().backward()
    expected = central_difference(loss, arguments, name)
    np.testing.assert_allclose(tensors[name].grad.numpy(), expected, rtol=1e-6, atol=1e-8)


@each_loss
def test_torch_bfloat16_inputs_are_computed_in_float64(torch, loss):
    narrow = {name: torch.from_numpy(values).to(torch.bfloat16) for name, values in batch().items()}
    narrow["policy_chosen_logps"].requires_grad_()
    found = compute(loss, narrow)
    assert found.dtype == torch.float64
    assert torch.equal(found, compute(loss, {name: values.double() for name, values in narrow.items()}))
    found.sum().backward()
    assert narrow["policy_chosen_logps"].grad.dtype == torch.bfloat16


@each_loss
def test_lists_beside_torch_tensors_lose_no_digits(torch, loss):
    arguments = batch()
    mixed = {name: values.tolist() for name, values in arguments.items()}
    mixed["policy_chosen_logps"] = torch.from_numpy(arguments["policy_chosen_logps"])
    np.testing.assert_allclose(compute(loss, mixed).numpy(), compute(loss, arguments), rtol=1e-14)


@each_loss
@pytest.mark.parametrize("size", [1e3, 1e12])
def test_torch_gradients_of_extreme_margins_stay_finite(torch, loss, size):
    pairs = {name: torch.zeros(2, dtype=torch.float64) for name in LOGPS} | {name: torch.ones(2) for name in LENGTHS}
    chosen = torch.tensor([-size, 0.0], dtype=torch.float64, requires_grad=True)
    sides = {"policy_chosen_logps": chosen, "policy_rejected_logps": chosen.detach().flip(0)}
    compute(loss, pairs | sides).sum().backward()
    assert bool(torch.all(torch.isfinite(chosen.grad)))


@each_loss
def test_jax_arrays_give_the_same_numbers_and_gradients(jax, loss):
    arguments = batch()
    arrays = {name: jax.numpy.asarray(values) for name, values in arguments.items()}
    np.testing.assert_allclose(np.asarray(compute(loss, arrays)), compute(loss, arguments), rtol=1e-14)

    def total(chosen):
        return compute(loss, arrays | {"policy_chosen_logps": chosen}).sum()

    found = jax.grad(total)(arrays["policy_chosen_logps"])
    expected = central_difference(loss, arguments, "policy_chosen_logps")
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-6, atol=1e-8)
