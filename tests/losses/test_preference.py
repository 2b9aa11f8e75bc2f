import math

import array_api_strict as xps
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from preftune.losses import (
    DPO,
    batch_token_nll,
    chosen_nll,
    dpo_loss,
    gradient_weights,
    length_normalized_dpo_loss,
    preference_gradients,
    preference_loss,
    reference_free_dpo_loss,
    simpo_loss,
)

FACT = settings(max_examples=60, deadline=None, database=None, derandomize=True)
LOGPS = ("policy_chosen_logps", "policy_rejected_logps", "reference_chosen_logps", "reference_rejected_logps")
ARGUMENTS = (*LOGPS, "chosen_lengths", "rejected_lengths")

# One pair worked by hand: chosen -10 against -11 on 2 tokens, rejected -14 against -12 on 4 tokens.
PAIR = dict(zip(ARGUMENTS, ([-10.0], [-14.0], [-11.0], [-12.0], [2], [4]), strict=True))
PLAIN = DPO(dpo_beta=0.1)
FREE = DPO(dpo_beta=0.1, dpo_reference_free=True)
NORMALIZED = DPO(dpo_beta=0.1, dpo_normalize_logratios_by_length=True)
NORMALIZED_FREE = DPO(dpo_beta=0.1, dpo_normalize_logratios_by_length=True, dpo_reference_free=True)
SIMPO = DPO(dpo_beta=2.0, simpo_gamma=0.5)
# method: loss, rewards, gradients
WORKED = {
    # ratios 1 and -2: z = 0.3, q = 0.425557483188341; 0.1 * ratios; 0.1 * q
    PLAIN: (0.5543552444685271, (0.1, -0.2), (-0.0425557483188341, 0.0425557483188341)),
    # ratios -10 and -14: z = 0.4, q = 0.401312339887548
    FREE: (0.5130152523999526, (-1.0, -1.4), (-0.0401312339887548, 0.0401312339887548)),
    # ratios 1/2 and -2/4: z = 0.1, q = 0.47502081252106; 0.1 * q over 2 and over 4
    NORMALIZED: (0.6443966600735709, (0.05, -0.05), (-0.023751040626053, 0.0118755203130265)),
    # ratios -10/2 and -14/4: z = -0.15, q = 0.5374298453437496
    NORMALIZED_FREE: (0.7709570477895321, (-0.5, -0.35), (-0.02687149226718748, 0.01343574613359374)),
    # the same ratios: z = 2 * -1.5 - 0.5 = -3.5, q = 0.9706877692486436; gamma is in no reward
    SIMPO: (3.5297504182726205, (-10.0, -7.0), (-0.9706877692486436, 0.4853438846243218)),
}
METHODS = [*WORKED, *(method.model_copy(update={"rpo_alpha": 0.5}) for method in WORKED)]


def named(method: DPO) -> str:
    knobs = (
        ("simpo", method.is_simpo),
        ("normalized", method.dpo_normalize_logratios_by_length),
        ("reference-free", method.dpo_reference_free),
        ("rpo", method.rpo_alpha > 0),
    )
    return "+".join(name for name, on in knobs if on) or "plain"


each_method = pytest.mark.parametrize("method", METHODS, ids=named)


def batch(seed: int = 3, size: int = 7) -> dict[str, np.ndarray]:
    """Pairs of mixed lengths, one-token answers among them, with weights of which one is 0."""
    random = np.random.default_rng(seed)
    lengths = [random.integers(1, 40, size) for _ in range(2)]
    lengths[0][0] = lengths[1][1] = 1
    policy = [-random.uniform(0.5, 3, size) * n for n in lengths]
    reference = [logps + random.normal(0, 4, size) for logps in policy]
    weights = random.uniform(0.2, 2, size)
    weights[2] = 0
    return dict(zip(ARGUMENTS, (*policy, *reference, *lengths), strict=True)) | {"weights": weights}


NAMED = {  # method: the loss that its knobs choose, what it takes, and its own knobs
    PLAIN: (dpo_loss, LOGPS, {"beta": 0.1}),
    FREE: (reference_free_dpo_loss, LOGPS[:2], {"beta": 0.1}),
    NORMALIZED: (length_normalized_dpo_loss, ARGUMENTS, {"beta": 0.1}),
    NORMALIZED_FREE: (simpo_loss, LOGPS[:2] + ARGUMENTS[4:], {"beta": 0.1, "gamma": 0.0}),
    SIMPO: (simpo_loss, LOGPS[:2] + ARGUMENTS[4:], {"beta": 2.0, "gamma": 0.5}),
}


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")


@pytest.fixture
def jax():
    """Return JAX with float64 switched on for one test."""
    jax = pytest.importorskip("jax", reason="jax is not installed: pip install 'jax>=0.10,<0.11'")
    with jax.enable_x64(True):
        yield jax


def oracle(pair: dict[str, float], method: DPO) -> tuple[float, float, float]:
    """Return loss and rewards of one pair, written down from the paper's formulas in plain floats."""
    p_c, p_r, r_c, r_r, n_c, n_r = (float(pair[name]) for name in ARGUMENTS)
    if method.simpo_gamma > 0:
        rewards = method.dpo_beta * p_c / n_c, method.dpo_beta * p_r / n_r
    else:
        free, split = method.dpo_reference_free, method.dpo_normalize_logratios_by_length
        chosen, rejected = (p_c, p_r) if free else (p_c - r_c, p_r - r_r)
        rewards = method.dpo_beta * chosen / (n_c if split else 1), method.dpo_beta * rejected / (n_r if split else 1)
    z = rewards[0] - rewards[1] - method.simpo_gamma
    loss = math.log(1 + math.exp(-z)) if z > -30 else -z
    loss += method.rpo_alpha * -p_c / n_c
    return pair.get("weights", 1.0) * loss, *rewards


def plain_numbers(arguments: dict[str, np.ndarray]) -> list[dict[str, float]]:
    size = len(arguments["policy_chosen_logps"])
    return [{name: float(values[i]) for name, values in arguments.items()} for i in range(size)]


@pytest.mark.parametrize("method", WORKED, ids=named)
def test_loss_and_rewards_by_hand(method):
    loss, rewards, _ = WORKED[method]
    found = preference_loss(**PAIR, method=method)
    values = [found.mean, *found.losses, *found.rewards_chosen, *found.rewards_rejected, found.margin, found.accuracy]
    expected = [loss, loss, *rewards, rewards[0] - rewards[1], float(rewards[0] > rewards[1])]
    np.testing.assert_allclose(values, expected, rtol=1e-14)


@pytest.mark.parametrize("method", WORKED, ids=named)
def test_gradients_by_hand(method):
    np.testing.assert_allclose(np.ravel(preference_gradients(**PAIR, method=method)), WORKED[method][2], rtol=1e-14)


@pytest.mark.parametrize("method", WORKED, ids=named)
def test_rpo_adds_the_token_mean_of_the_chosen_side_by_hand(method):
    loss, rewards, (chosen, rejected) = WORKED[method]
    with_nll = method.model_copy(update={"rpo_alpha": 0.5})
    found = preference_loss(**PAIR, method=with_nll)
    # 0.5 * 10 / 2 = 2.5; its gradient -0.5 / 2; the rewards know nothing of it
    np.testing.assert_allclose(found.losses, [loss + 2.5], rtol=1e-14)
    np.testing.assert_allclose([*found.rewards_chosen, *found.rewards_rejected], rewards, rtol=1e-14)
    found_gradients = np.ravel(preference_gradients(**PAIR, method=with_nll))
    np.testing.assert_allclose(found_gradients, [chosen - 0.25, rejected], rtol=1e-14)


def test_the_method_is_plain_dpo_unless_told():
    np.testing.assert_array_equal(preference_loss(**PAIR).losses, preference_loss(**PAIR, method=DPO()).losses)
    np.testing.assert_array_equal(preference_gradients(**PAIR), preference_gradients(**PAIR, method=DPO()))


@pytest.mark.parametrize("method", NAMED, ids=named)
def test_the_loss_is_the_named_one_that_the_knobs_choose(method):
    arguments = batch()
    function, names, knobs = NAMED[method]
    losses = function(**{name: arguments[name] for name in names}, **knobs)
    nll = chosen_nll(policy_chosen_logps=arguments["policy_chosen_logps"], chosen_lengths=arguments["chosen_lengths"])
    for alpha, expected in ((0.0, losses), (0.5, losses + 0.5 * nll)):
        found = preference_loss(**arguments, method=method.model_copy(update={"rpo_alpha": alpha}))
        np.testing.assert_array_equal(found.losses, expected * arguments["weights"])


# Two pairs at their references: 10 nats on 2 chosen tokens, 4 nats on 8.
TWO = {
    "policy_chosen_logps": [-10.0, -4.0],
    "policy_rejected_logps": [-1.0, -1.0],
    "reference_chosen_logps": [-10.0, -4.0],
    "reference_rejected_logps": [-1.0, -1.0],
    "chosen_lengths": [2, 8],
}


def test_the_two_forms_of_the_nll_by_hand():
    method, ln2 = DPO(dpo_beta=0.1, rpo_alpha=0.5), math.log(2)
    of_sequences = preference_loss(**TWO, method=method)
    of_batch = preference_loss(**TWO, method=method, nll="batch-token")
    # half of 10/2 and of 4/8; half of 10 * 2/10 and of 4 * 2/10, whose mean is half of 14/10
    np.testing.assert_allclose(of_sequences.losses, [ln2 + 2.5, ln2 + 0.25], rtol=1e-15)
    np.testing.assert_allclose(of_batch.losses, [ln2 + 1.0, ln2 + 0.4], rtol=1e-15)
    assert float(of_batch.mean) == pytest.approx(ln2 + 0.7, rel=1e-15)
    np.testing.assert_array_equal(of_batch.rewards_chosen, of_sequences.rewards_chosen)


def test_the_gradients_of_the_two_forms_of_the_nll_by_hand():
    method = DPO(dpo_beta=0.1, rpo_alpha=0.5)
    chosen, rejected = preference_gradients(**TWO, method=method)
    np.testing.assert_allclose(chosen, [-0.05 - 0.25, -0.05 - 0.0625], rtol=1e-15)  # 0.5/2 and 0.5/8
    np.testing.assert_allclose(rejected, [0.05, 0.05], rtol=1e-15)
    chosen, rejected = preference_gradients(**TWO, method=method, nll="batch-token")
    np.testing.assert_allclose(chosen, [-0.05 - 0.1, -0.05 - 0.1], rtol=1e-15)  # 0.5 * 2/10
    np.testing.assert_allclose(rejected, [0.05, 0.05], rtol=1e-15)


@pytest.mark.parametrize("method", [method for method in METHODS if method.rpo_alpha], ids=named)
def test_the_batch_token_nll_is_added_and_differentiated(method):
    arguments, step = batch(), 1e-5
    bare = preference_loss(**arguments, method=method.model_copy(update={"rpo_alpha": 0.0}))
    found = preference_loss(**arguments, method=method, nll="batch-token")
    chosen = {name: arguments[name] for name in ("policy_chosen_logps", "chosen_lengths")}
    expected = bare.losses + 0.5 * batch_token_nll(**chosen) * arguments["weights"]
    np.testing.assert_allclose(found.losses, expected, rtol=1e-14)
    for at, side in enumerate(LOGPS[:2]):
        ends = [
            preference_loss(**arguments | {side: arguments[side] + sign * step}, method=method, nll="batch-token")
            for sign in (1, -1)
        ]
        gradient = preference_gradients(**arguments, method=method, nll="batch-token")[at]
        np.testing.assert_allclose(gradient, (ends[0].losses - ends[1].losses) / (2 * step), rtol=1e-6, atol=1e-9)


def test_without_rpo_alpha_the_form_of_the_nll_says_nothing():
    one, other = (preference_loss(**PAIR, nll=form) for form in ("sequence", "batch-token"))
    np.testing.assert_array_equal(one.losses, other.losses)


@pytest.mark.parametrize("compute", [preference_loss, preference_gradients])
def test_another_form_of_the_nll_is_refused(compute):
    with pytest.raises(ValueError, match=r"^nll: expected one of sequence, batch-token, found 'token'$"):
        compute(**PAIR, nll="token")


GRADIENT_WEIGHTS = {  # q of the hand-worked pair
    PLAIN: 0.425557483188341,
    FREE: 0.401312339887548,
    NORMALIZED: 0.47502081252106,
    NORMALIZED_FREE: 0.5374298453437496,
    SIMPO: 0.9706877692486436,
}


@pytest.mark.parametrize("method", GRADIENT_WEIGHTS, ids=named)
def test_gradient_weights_by_hand(method):
    found = gradient_weights(**PAIR, method=method)
    np.testing.assert_allclose(found, [GRADIENT_WEIGHTS[method]], rtol=1e-14)
    np.testing.assert_allclose(gradient_weights(**PAIR, weights=[3.0], method=method), 3 * found, rtol=1e-15)


@each_method
def test_beta_times_the_gradient_weights_is_the_pull_on_the_rejected_side(method):
    arguments = batch()
    found = method.dpo_beta * gradient_weights(**arguments, method=method)
    lengths = arguments["rejected_lengths"] if method.is_normalized else 1
    np.testing.assert_allclose(found / lengths, preference_gradients(**arguments, method=method)[1], rtol=1e-14)


def test_gradient_weights_are_half_at_zero_all_where_wrong_and_none_where_learned():
    found = gradient_weights(
        policy_chosen_logps=[0.0, -1e13, 1e13], policy_rejected_logps=[0.0] * 3, method=DPO(dpo_reference_free=True)
    )
    assert found.tolist() == [0.5, 1.0, 0.0]


@each_method
def test_a_batch_agrees_with_an_oracle_in_plain_floats(method):
    arguments = batch()
    found = preference_loss(**arguments, method=method)
    expected = np.array([oracle(pair, method) for pair in plain_numbers(arguments)])
    values = np.stack([found.losses, found.rewards_chosen, found.rewards_rejected], axis=1)
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-15)
    assert float(found.mean) == pytest.approx(math.fsum(expected[:, 0]) / 7, rel=1e-12)
    assert float(found.margin) == pytest.approx(math.fsum(expected[:, 1] - expected[:, 2]) / 7, rel=1e-12)
    assert float(found.accuracy) == np.mean(expected[:, 1] > expected[:, 2])


@each_method
@pytest.mark.parametrize("side", ["policy_chosen_logps", "policy_rejected_logps"])
def test_gradients_agree_with_central_differences(method, side):
    arguments, step = batch(), 1e-5
    ends = [
        preference_loss(**arguments | {side: arguments[side] + sign * step}, method=method).losses for sign in (1, -1)
    ]
    found = preference_gradients(**arguments, method=method)[side == "policy_rejected_logps"]
    np.testing.assert_allclose(found, (ends[0] - ends[1]) / (2 * step), rtol=1e-6, atol=1e-9)


@each_method
def test_arrays_of_the_standard_give_the_same_numbers(method):
    arguments = batch()
    strict = {name: xps.asarray(values) for name, values in arguments.items()}
    expected, found = (preference_loss(**values, method=method) for values in (arguments, strict))
    for name in ("losses", "rewards_chosen", "rewards_rejected", "mean", "accuracy", "margin"):
        np.testing.assert_allclose(np.asarray(getattr(found, name)), getattr(expected, name), rtol=1e-14)
    gradients = [np.asarray(side) for side in preference_gradients(**strict, method=method)]
    np.testing.assert_allclose(gradients, preference_gradients(**arguments, method=method), rtol=1e-14)


@each_method
def test_lists_and_integers_give_the_same_numbers_as_arrays(method):
    rounded = {name: np.round(values).astype(np.int64) for name, values in batch().items()}
    as_lists = {name: values.tolist() for name, values in rounded.items()}
    as_floats = {name: values.astype(np.float64) for name, values in rounded.items()}
    for arguments in (rounded, as_lists):
        np.testing.assert_array_equal(
            preference_loss(**arguments, method=method).losses, preference_loss(**as_floats, method=method).losses
        )


@each_method
def test_non_contiguous_and_read_only_arrays_are_read_and_left_alone(method):
    arguments, table = batch(), np.zeros((7, 2, 7))
    for column, values in enumerate(arguments.values()):
        table[:, 1, column] = values
    table.flags.writeable = False
    views = {name: table[:, 1, column] for column, name in enumerate(arguments)}
    np.testing.assert_array_equal(
        preference_loss(**views, method=method).losses, preference_loss(**arguments, method=method).losses
    )
    np.testing.assert_array_equal(
        preference_gradients(**views, method=method), preference_gradients(**arguments, method=method)
    )


@each_method
def test_float32_inputs_are_computed_in_float64(method):
    narrow = {name: values.astype(np.float32) for name, values in batch().items()}
    wide = {name: values.astype(np.float64) for name, values in narrow.items()}
    found = preference_loss(**narrow, method=method)
    assert found.losses.dtype == np.float64
    np.testing.assert_array_equal(found.losses, preference_loss(**wide, method=method).losses)


@each_method
@pytest.mark.parametrize("size", [1e3, 1e6, 1e12])
def test_extreme_margins_stay_finite(method, size):
    logps = {"policy_chosen_logps": [-size, 0.0], "policy_rejected_logps": [0.0, -size]}
    rest = {name: [0.0, 0.0] for name in LOGPS[2:]} | {"chosen_lengths": [1, 1], "rejected_lengths": [1, 1]}
    found = preference_loss(**logps, **rest, method=method)
    lost = method.dpo_beta * size + method.simpo_gamma + method.rpo_alpha * size
    np.testing.assert_allclose(found.losses, [lost, 0.0], rtol=1e-12, atol=1e-40)
    gradients = preference_gradients(**logps, **rest, method=method)
    pull = np.array([method.dpo_beta, 0.0])
    np.testing.assert_allclose(gradients, [-pull - method.rpo_alpha, pull], rtol=1e-12, atol=1e-40)


def test_a_tie_is_a_miss():
    found = preference_loss(
        policy_chosen_logps=[-1.0, -1.0, -1.0],
        policy_rejected_logps=[-1.0, -2.0, -0.5],
        method=DPO(dpo_reference_free=True),
    )
    assert float(found.accuracy) == 1 / 3


def test_at_the_reference_the_loss_is_ln_2_the_accuracy_0_and_the_gradient_half_of_beta():
    same = {name: [-7.25, -300.0, 0.0] for name in LOGPS}
    found = preference_loss(**same)
    assert (found.losses.tolist(), float(found.accuracy), float(found.margin)) == ([math.log(2)] * 3, 0.0, 0.0)
    assert [side.tolist() for side in preference_gradients(**same)] == [[-0.05] * 3, [0.05] * 3]


def test_weights_multiply_losses_and_zero_keeps_its_place_in_the_mean():
    pairs = {name: values * 3 for name, values in PAIR.items()}
    plain, weighted = (preference_loss(**pairs, weights=weights) for weights in (None, [2.0, 0.0, 0.5]))
    one = plain.losses[0]
    np.testing.assert_allclose(weighted.losses, [2 * one, 0.0, one / 2], rtol=1e-15)
    assert float(weighted.mean) == pytest.approx(2.5 * one / 3, rel=1e-15)
    np.testing.assert_array_equal(weighted.rewards_chosen, plain.rewards_chosen)
    chosen, rejected = preference_gradients(**pairs, weights=[2.0, 0.0, 0.5])
    gradient = preference_gradients(**PAIR)[1][0]
    np.testing.assert_allclose([-chosen, rejected], [[2 * gradient, 0.0, gradient / 2]] * 2, rtol=1e-15)


each_function = pytest.mark.parametrize("compute", [gradient_weights, preference_gradients, preference_loss])


@each_function
@pytest.mark.parametrize(
    ("method", "missing", "reason"),
    [
        (FREE, "policy_chosen_logps", "every loss reads the policy"),
        (FREE, "policy_rejected_logps", "every loss reads the policy"),
        (PLAIN, "reference_chosen_logps", "the method has a reference"),
        (NORMALIZED, "reference_rejected_logps", "the method has a reference"),
        (NORMALIZED, "chosen_lengths", "the method divides by length"),
        (SIMPO, "rejected_lengths", "the method divides by length"),
        (DPO(rpo_alpha=1), "chosen_lengths", "rpo_alpha adds the chosen side's mean NLL"),
    ],
)
def test_a_missing_argument_is_named_with_the_reason(compute, method, missing, reason):
    with pytest.raises(ValueError, match=f"^{missing}: needed, because {reason}.*; found None$"):
        compute(**PAIR | {missing: None}, method=method)


@pytest.mark.parametrize(
    ("method", "enough"),
    [
        (PLAIN, LOGPS),
        (FREE, LOGPS[:2]),
        (NORMALIZED, ARGUMENTS),
        (SIMPO, (*LOGPS[:2], "chosen_lengths", "rejected_lengths")),
        (DPO(rpo_alpha=1), (*LOGPS, "chosen_lengths")),
    ],
)
def test_what_the_method_does_not_need_may_be_left_out(method, enough):
    some = {name: PAIR[name] for name in enough}
    np.testing.assert_array_equal(
        preference_loss(**some, method=method).losses, preference_loss(**PAIR, method=method).losses
    )


@each_function
@pytest.mark.parametrize("side", ["chosen_lengths", "rejected_lengths"])
@pytest.mark.parametrize(("length", "found"), [(0, "0"), (-3, "-3"), (math.nan, "nan")])
def test_a_side_with_nothing_scored_is_named_with_its_pair(compute, side, length, found):
    pairs = {name: values * 3 for name, values in PAIR.items()}
    with pytest.raises(
        ValueError,
        match=rf"^{side}\[1\]: expected at least 1 scored token, found {found}; "
        r"drop the pair, or look for an empty or cut-away answer$",
    ):
        compute(**pairs | {side: [2, length, 0]}, method=SIMPO)


@pytest.mark.parametrize("name", ARGUMENTS[1:])
def test_a_wrong_shape_is_named(name):
    with pytest.raises(ValueError, match=f"^{name}: expected 1 pairs like policy_chosen_logps, found 2$"):
        preference_loss(**PAIR | {name: [1.0, 1.0]})


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match=r"^policy_chosen_logps: expected at least one pair, found an empty array$"):
        preference_loss(**{name: [] for name in LOGPS})


def test_a_dtype_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match=r"^weights: expected real numbers, found dtype bool$"):
        preference_loss(**PAIR, weights=[True])


logps = st.floats(-200, 0)
betas = st.floats(0.01, 10)
lengths = st.integers(1, 500)


def plain_loss(chosen: float, rejected: float, *, beta: float) -> float:
    found = preference_loss(
        policy_chosen_logps=[chosen],
        policy_rejected_logps=[rejected],
        method=DPO(dpo_beta=beta, dpo_reference_free=True),
    )
    return float(found.mean)


@FACT
@given(logps, logps, betas)
def test_swapping_the_sides_changes_the_loss_by_z(chosen, rejected, beta):
    z = beta * (chosen - rejected)
    difference = plain_loss(rejected, chosen, beta=beta) - plain_loss(chosen, rejected, beta=beta)
    assert difference == pytest.approx(z, rel=1e-12, abs=1e-12)


@FACT
@given(logps, logps, logps, logps, st.floats(-1000, 1000))
def test_one_constant_on_policy_and_reference_of_a_side_changes_nothing(p_c, p_r, r_c, r_r, constant):
    before = preference_loss(**dict(zip(LOGPS, ([p_c], [p_r], [r_c], [r_r]), strict=True)))
    after = preference_loss(**dict(zip(LOGPS, ([p_c + constant], [p_r], [r_c + constant], [r_r]), strict=True)))
    assert float(after.mean) == pytest.approx(float(before.mean), rel=1e-9, abs=1e-12)


@FACT
@given(logps, logps, betas, st.floats(0.1, 10))
def test_beta_and_the_log_ratio_trade_one_for_the_other(chosen, rejected, beta, factor):
    one = plain_loss(chosen, rejected, beta=beta)
    assert plain_loss(chosen / factor, rejected / factor, beta=beta * factor) == pytest.approx(one, rel=1e-9, abs=1e-12)


@FACT
@given(logps, logps, betas)
def test_a_zero_margin_costs_ln_2_and_pulls_with_half_of_beta(chosen, rejected, beta):
    same = dict(zip(LOGPS, ([chosen], [rejected]) * 2, strict=True))
    method = DPO(dpo_beta=beta)
    assert float(preference_loss(**same, method=method).mean) == math.log(2)
    assert np.ravel(preference_gradients(**same, method=method)).tolist() == [-beta / 2, beta / 2]


@FACT
@given(logps, logps, logps, logps, betas)
def test_one_token_makes_normalisation_the_identity(p_c, p_r, r_c, r_r, beta):
    ones = {"chosen_lengths": [1], "rejected_lengths": [1]}
    pair = dict(zip(LOGPS, ([p_c], [p_r], [r_c], [r_r]), strict=True)) | ones
    normalized = DPO(dpo_beta=beta, dpo_normalize_logratios_by_length=True)
    assert (
        preference_loss(**pair, method=normalized).losses == preference_loss(**pair, method=DPO(dpo_beta=beta)).losses
    )
    np.testing.assert_array_equal(
        preference_gradients(**pair, method=normalized), preference_gradients(**pair, method=DPO(dpo_beta=beta))
    )


@FACT
@given(logps, logps, lengths, lengths, betas, st.floats(0.01, 2))
def test_a_margin_of_gamma_is_a_shift_of_the_log_ratio_by_gamma_over_beta(p_c, p_r, n_c, n_r, beta, ratio):
    sides = {"chosen_lengths": [n_c], "rejected_lengths": [n_r], "policy_rejected_logps": [p_r]}
    gamma = DPO(dpo_beta=beta, simpo_gamma=ratio * beta)
    shifted = DPO(dpo_beta=beta, dpo_reference_free=True, dpo_normalize_logratios_by_length=True)
    with_margin = preference_loss(policy_chosen_logps=[p_c], **sides, method=gamma)
    with_shift = preference_loss(policy_chosen_logps=[p_c - ratio * n_c], **sides, method=shifted)
    assert float(with_margin.mean) == pytest.approx(float(with_shift.mean), rel=1e-9, abs=1e-12)


@FACT
@given(logps, logps, logps, logps, betas)
def test_the_two_gradients_of_dpo_are_equal_and_opposite(p_c, p_r, r_c, r_r, beta):
    pair = dict(zip(LOGPS, ([p_c], [p_r], [r_c], [r_r]), strict=True))
    chosen, rejected = preference_gradients(**pair, method=DPO(dpo_beta=beta))
    assert chosen == -rejected


@FACT
@given(st.floats(0, 1e12), betas)
def test_the_gradient_saturates_at_beta_and_vanishes(z, beta):
    assume(beta * (z / beta) == z)  # the margin is exactly z
    method = DPO(dpo_beta=beta, dpo_reference_free=True)
    lost = preference_gradients(policy_chosen_logps=[0.0], policy_rejected_logps=[z / beta], method=method)[0][0]
    won = preference_gradients(policy_chosen_logps=[z / beta], policy_rejected_logps=[0.0], method=method)[0][0]
    assert -beta <= lost <= -beta / 2 <= won <= 0
    assert lost == -beta or z <= 37
    assert won == 0 or z <= 746


@each_method
@pytest.mark.parametrize("nll", ["batch-token", "sequence"])
def test_torch_autograd_agrees_with_the_analytic_gradients(torch, method, nll):
    arguments = {name: torch.from_numpy(values) for name, values in batch().items()}
    sides = [arguments[name].requires_grad_() for name in LOGPS[:2]]
    preference_loss(**arguments, method=method, nll=nll).losses.sum().backward()
    for side, expected in zip(sides, preference_gradients(**arguments, method=method, nll=nll), strict=True):
        torch.testing.assert_close(side.grad, expected.detach(), rtol=1e-12, atol=1e-15)


@each_method
def test_torch_agrees_with_numpy(torch, method):
    arguments = batch()
    found = preference_loss(**{name: torch.from_numpy(v) for name, v in arguments.items()}, method=method)
    expected = preference_loss(**arguments, method=method)
    np.testing.assert_allclose(found.losses.numpy(), expected.losses, rtol=1e-13)
    assert (float(found.accuracy), float(found.margin)) == (float(expected.accuracy), pytest.approx(expected.margin))


@each_method
def test_torch_bfloat16_inputs_are_computed_in_float64(torch, method):
    narrow = {name: torch.from_numpy(values).to(torch.bfloat16) for name, values in batch().items()}
    wide = {name: values.double() for name, values in narrow.items()}
    narrow["policy_chosen_logps"].requires_grad_()
    found = preference_loss(**narrow, method=method)
    assert found.losses.dtype == torch.float64
    assert torch.equal(found.losses, preference_loss(**wide, method=method).losses)
    found.mean.backward()
    assert narrow["policy_chosen_logps"].grad.dtype == torch.bfloat16


@each_function
def test_a_method_that_is_no_dpo_is_refused(compute):
    with pytest.raises(TypeError, match=r"^method: expected a DPO, found 'dpo'; write preftune.DPO\(dpo_beta=0.1\)$"):
        compute(policy_chosen_logps=[-1.0], policy_rejected_logps=[-2.0], method="dpo")


@each_function
def test_a_negative_weight_is_refused(compute):
    with pytest.raises(ValueError, match=r"^weights\[1\]: expected at least 0 as a weight, found -1; swap the sides"):
        compute(policy_chosen_logps=[-1.0, -1.0], policy_rejected_logps=[-2.0, -2.0], weights=[1.0, -1.0], method=FREE)


@each_function
def test_arrays_of_two_libraries_are_refused(compute):
    arrays = {name: np.asarray(values) for name, values in PAIR.items()}
    with pytest.raises(
        ValueError, match=r"^weights: expected an array of the library that policy_chosen_logps is of, "
    ):
        compute(**arrays, weights=xps.asarray([1.0]))


@each_method
def test_lists_beside_torch_tensors_give_the_same_numbers(torch, method):
    arguments = batch()
    mixed = {name: values.tolist() for name, values in arguments.items()}
    mixed["policy_rejected_logps"] = torch.from_numpy(arguments["policy_rejected_logps"])
    found = preference_loss(**mixed, method=method)
    np.testing.assert_allclose(found.losses.numpy(), preference_loss(**arguments, method=method).losses, rtol=1e-13)


def test_torch_tensors_beside_numpy_arrays_are_refused(torch):
    with pytest.raises(ValueError, match=r"^policy_rejected_logps: expected .*, found numpy\.ndarray; convert one"):
        preference_loss(policy_chosen_logps=torch.zeros(1), policy_rejected_logps=np.zeros(1), method=FREE)


@each_method
@pytest.mark.parametrize("nll", ["batch-token", "sequence"])
def test_jax_agrees_with_numpy_and_its_gradient_with_the_analytic_one(jax, method, nll):
    arguments = batch()
    arrays = {name: jax.numpy.asarray(values) for name, values in arguments.items()}
    found = preference_loss(**arrays, method=method, nll=nll)
    expected = preference_loss(**arguments, method=method, nll=nll)
    for name in ("losses", "rewards_chosen", "rewards_rejected", "mean", "accuracy", "margin"):
        np.testing.assert_allclose(np.asarray(getattr(found, name)), getattr(expected, name), rtol=1e-13)

    def total(chosen, rejected):
        moved = {"policy_chosen_logps": chosen, "policy_rejected_logps": rejected}
        return preference_loss(**arrays | moved, method=method, nll=nll).losses.sum()

    gradients = jax.grad(total, argnums=(0, 1))(*(arrays[name] for name in LOGPS[:2]))
    for side, analytic in zip(gradients, preference_gradients(**arguments, method=method, nll=nll), strict=True):
        np.testing.assert_allclose(np.asarray(side), analytic, rtol=1e-12, atol=1e-15)


@each_method
def test_jax_without_float64_computes_in_float32_and_says_nothing(method):
    jax = pytest.importorskip("jax", reason="jax is not installed: pip install 'jax>=0.10,<0.11'")
    arguments = batch()
    found = preference_loss(**{name: jax.numpy.asarray(values) for name, values in arguments.items()}, method=method)
    assert found.losses.dtype == np.float32
    expected = preference_loss(**arguments, method=method).losses
    np.testing.assert_allclose(np.asarray(found.losses), expected, rtol=1e-4, atol=1e-6)
