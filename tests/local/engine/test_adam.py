import math

import numpy as np
import pytest

from preftune.local.engine.adam import Adam, rate_factor
from preftune.local.engine.parameters import Gradients, Weights


def one(value: float) -> Weights:
    return {"w": np.array([value], np.float32)}


def factors(total: int, *, schedule: str, warmup_ratio: float = 0.0, min_ratio: float = 0.0, cycles: float = 0.5):
    return [
        rate_factor(
            step, total, schedule=schedule, warmup_ratio=warmup_ratio, min_ratio=min_ratio, cycles=cycles
        )
        for step in range(1, total + 1)
    ]  # fmt: skip


def oracle(start: float, gradients: list[float], *, rate: float, decay: float) -> float:
    """Return the weight after the steps of arXiv 1412.6980, algorithm 1, decay decoupled as in 1711.05101."""
    weight, m, v = start, 0.0, 0.0
    for t, g in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
        weight -= rate * (m_hat / (math.sqrt(v_hat) + 1e-8) + decay * weight)
    return weight


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_steps_agree_with_the_paper(decay):
    gradients = [1.0, -2.0, 0.5, 0.0, 3.0, 3.0, -0.01]
    weights = one(0.7)
    adam = Adam.of(weights)
    for gradient in gradients:
        adam.step(weights, Gradients(one(gradient), {}), rate=0.05, decay=decay, scale=1.0)
    assert weights["w"][0] == pytest.approx(oracle(0.7, gradients, rate=0.05, decay=decay), rel=1e-5)
    assert adam.steps == 7


@pytest.mark.parametrize("gradient", [1e-3, 1.0, -50.0])
def test_the_first_step_is_as_long_as_the_rate(gradient):
    weights = one(0.0)
    Adam.of(weights).step(weights, Gradients(one(gradient), {}), rate=0.1, decay=0.0, scale=1.0)
    assert weights["w"][0] == pytest.approx(math.copysign(0.1, -gradient), rel=1e-4)


def test_scale_multiplies_the_gradients():
    found = []
    for gradient, scale in ((4e-8, 0.25), (1e-8, 1.0)):
        weights = one(0.0)
        Adam.of(weights).step(weights, Gradients(one(gradient), {}), rate=0.1, decay=0.0, scale=scale)
        found.append(weights["w"][0])
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert found[0] == pytest.approx(-0.05, rel=1e-4)  # 0.1 * 1e-8 / (1e-8 + epsilon)


def test_a_row_that_no_token_touched_does_not_move():
    weights = {"table": np.ones((4, 2), np.float32)}
    adam = Adam.of(weights)
    for row in (1, 3):
        rows = {"table": (np.array([row], np.uint16), np.full((1, 2), 5.0, np.float32))}
        adam.step(weights, Gradients({}, rows), rate=0.1, decay=0.5, scale=1.0)
    assert weights["table"][[0, 2]].tolist() == [[1.0, 1.0]] * 2
    # the first step of row 1: 1 * (1 - 0.1 * 0.5) - 0.1; row 3 begins at step 2, so its averages are 10/19 of the
    # gradient's and 1000/1999 of its square's: 0.95 - 0.1 * (10/19) / sqrt(1000/1999)
    np.testing.assert_allclose(weights["table"][1], [0.85, 0.85], rtol=1e-6)
    np.testing.assert_allclose(weights["table"][3], [0.95 - 0.1 * (10 / 19) / math.sqrt(1000 / 1999)] * 2, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1,), (5, 3)])
def test_steps_on_any_shape_agree_with_the_paper_number_by_number(shape):
    random = np.random.default_rng(3)
    start, gradients = random.normal(0, 1, shape), random.normal(0, 2, (6, *shape))
    weights = {"w": start.astype(np.float32)}
    adam = Adam.of(weights)
    for gradient in gradients:
        adam.step(weights, Gradients({"w": gradient.astype(np.float32)}, {}), rate=0.02, decay=0.1, scale=0.5)
    expected = [oracle(first, 0.5 * gradients[:, *at], rate=0.02, decay=0.1) for at, first in np.ndenumerate(start)]
    np.testing.assert_allclose(weights["w"].ravel(), expected, rtol=1e-4, atol=1e-6)


def test_rows_move_as_the_whole_array_does_where_all_are_touched():
    random = np.random.default_rng(4)
    whole, by_row = ({"w": np.ones((4, 3), np.float32)} for _ in range(2))
    states = Adam.of(whole), Adam.of(by_row)
    for _ in range(5):
        gradient = random.normal(0, 1, (4, 3)).astype(np.float32)
        order = random.permutation(4).astype(np.uint16)
        states[0].step(whole, Gradients({"w": gradient}, {}), rate=0.1, decay=0.2, scale=0.7)
        states[1].step(by_row, Gradients({}, {"w": (order, gradient[order])}), rate=0.1, decay=0.2, scale=0.7)
    np.testing.assert_array_equal(by_row["w"], whole["w"])


def test_a_step_leaves_the_gradients_as_they_were():
    weights, gradient = {"w": np.ones((2, 2), np.float32)}, np.full((2, 2), 3.0, np.float32)
    rows = {"t": (np.array([1], np.uint16), np.full((1, 2), 4.0, np.float32))}
    weights["t"] = np.ones((2, 2), np.float32)
    Adam.of(weights).step(weights, Gradients({"w": gradient}, rows), rate=0.1, decay=0.0, scale=0.5)
    assert (gradient.tolist(), rows["t"][1].tolist()) == ([[3.0, 3.0]] * 2, [[4.0, 4.0]])


def test_arrays_without_a_gradient_do_not_move():
    weights = one(1.0) | {"still": np.ones(3, np.float32)}
    Adam.of(weights).step(weights, Gradients(one(2.0), {}), rate=0.1, decay=0.5, scale=1.0)
    assert weights["still"].tolist() == [1.0, 1.0, 1.0]


def test_a_fresh_state_is_zero_and_of_the_weights_shape():
    weights = {"table": np.ones((4, 2), np.float32)}
    adam = Adam.of(weights)
    for moment in (adam.first, adam.second):
        np.testing.assert_array_equal(moment["table"], np.zeros((4, 2), np.float32))
    assert adam.steps == 0


def test_linear_decay_by_hand():
    assert factors(5, schedule="linear") == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])


def test_cosine_decay_by_hand():
    assert factors(4, schedule="cosine") == pytest.approx([1.0, 0.8535533905932737, 0.5, 0.14644660940672627])


def test_a_whole_cosine_cycle_returns():
    assert factors(4, schedule="cosine", cycles=1.0) == pytest.approx([1.0, 0.5, 0.0, 0.5])


def test_warm_up_climbs_to_the_peak_and_decay_begins_there():
    assert factors(6, schedule="linear", warmup_ratio=1 / 3) == pytest.approx([0.5, 1.0, 1.0, 0.75, 0.5, 0.25])


def test_warm_up_is_rounded_up_to_a_whole_step():
    assert factors(5, schedule="linear", warmup_ratio=0.3)[:3] == pytest.approx([0.5, 1.0, 1.0])


@pytest.mark.parametrize(
    ("ratio", "total", "steps"),
    [
        (0.07, 100, 7),  # 7.000000000000001 in floats
        (0.14, 50, 7),  # 7.000000000000001
        (0.29, 100, 29),  # 28.999999999999996
        (0.1, 30, 3),
        (0.1, 31, 4),
        (0.001, 100, 1),
        (0.0, 100, 0),
    ],
)
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_warm_up_takes_exactly_its_share_of_the_steps(ratio, total, steps, schedule):
    found = factors(total, schedule=schedule, warmup_ratio=ratio)
    assert found[:steps] == [step / steps for step in range(1, steps + 1)]
    after = factors(total - steps, schedule=schedule)
    assert found[steps:] == pytest.approx(after, abs=1e-12)


def test_warm_up_may_take_the_whole_training():
    assert factors(3, schedule="cosine", warmup_ratio=1.0) == pytest.approx([1 / 3, 2 / 3, 1.0])


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_rate_stays_above_its_minimum(schedule):
    plain, floored = (factors(50, schedule=schedule, min_ratio=ratio) for ratio in (0.0, 0.25))
    assert floored == pytest.approx([0.25 + 0.75 * factor for factor in plain])
    assert min(floored) > 0.25


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_single_step_goes_at_the_peak(schedule):
    assert factors(1, schedule=schedule) == [1.0]
