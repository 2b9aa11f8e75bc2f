import itertools
import math
from typing import Any

import numpy as np
import pytest

from preftune.local.engine.adam import Adam
from preftune.local.engine.encode import ORDERS, Cut, Encoded, EncodedPair, encode
from preftune.local.engine.model import GROUP, Batch, base_weights, sequence_logps
from preftune.local.engine.objectives import Preference, Supervised, in_turn
from preftune.local.engine.parameters import Full, LowRank, Parameters
from preftune.losses import DPO, preference_loss, preference_metrics

PARAMETERS = {
    "full": lambda: Full(base_weights()),
    "low rank": lambda: LowRank(base_weights(), rank=4, alpha=8, seed=3),
}
ZEROS = dict.fromkeys(("accuracy", "rewards_chosen", "rewards_rejected", "margin", "kl_chosen", "kl_rejected"), 0.0)


def answer(context: str, text: str, *, whole: bool = True) -> Encoded:
    return encode(Cut(context.encode(), text.encode(), whole=whole))


def pair(context: str, chosen: str, rejected: str, weight: float = 1.0) -> EncodedPair:
    return EncodedPair(answer(context, chosen), answer(context, rejected), weight)


ANSWERS = [answer(f"question {n % 3}", ["yes, it is", "no", "it may be so"][n % 3]) for n in range(10)]
PAIRS = [
    pair("one", "Certainly: four", "No idea, sorry", 0.5),
    pair("", "yes", "no " * 90),
    pair("two words", "so it is. " * 70, "", 2.0),
    pair("three", "tail " * 60, "head"),
    EncodedPair(answer("four", "cut off", whole=False), answer("four", "a", whole=False)),
    *(pair(f"question {n}", "answer " * n, "nothing " * (12 - n)) for n in range(13)),
]
EVERY = np.arange(len(PAIRS))


def moved(parameters: Parameters) -> Parameters:
    """Return the parameters after some supervised steps: a model that is no uniform guess."""
    adam, objective = Adam.of(parameters.trained), Supervised(ANSWERS)
    for _ in range(3):
        adam.step(
            parameters.trained, objective.learn(parameters, np.arange(10))[1], rate=0.05, decay=0.0, scale=1.0
        )  # fmt: skip
    return parameters


@pytest.fixture(params=PARAMETERS)
def parameters(request) -> Parameters:
    """Return the whole model, or an adapter beside it, that has learned a little."""
    return moved(PARAMETERS[request.param]())


def slopes(parameters: Parameters, objective: Any, examples: Any, name: str, step: float = 0.01) -> Any:
    """Yield some numbers of an array's gradient beside the central differences of the loss."""
    gradients = objective.learn(parameters, examples)[1]
    array = parameters.trained[name]
    found = gradients.dense[name]
    steepest = np.argsort(np.abs(found), axis=None)[::-1][:3]
    for at in zip(*np.unravel_index(steepest, array.shape), strict=True):
        middle, ends = array[at].copy(), []
        for sign in (1, -1):
            array[at] = middle + sign * step
            ends.append(objective.learn(parameters, examples)[0]["loss"])
        array[at] = middle
        yield float(found[at]), (ends[0] - ends[1]) / (2 * step)


# --- answers


def test_supervised_loss_is_the_mean_over_tokens():
    weights = base_weights()
    weights["output.bias"][ord("n")] = 3.0
    model, objective, several = Full(weights), Supervised([ANSWERS[1]]), Supervised([ANSWERS[1]] * 40)
    # 3 tokens n, o and the end: two at -ln(256 + e**3), one with 3 more
    assert objective.evaluate(model)["loss"] == pytest.approx(math.log(256 + math.exp(3)) - 1, rel=1e-6)
    assert several.evaluate(model)["loss"] == pytest.approx(objective.evaluate(model)["loss"], rel=1e-12)
    assert objective.learn(model, np.array([0]))[0] == objective.evaluate(model)


def test_a_long_answer_weighs_by_its_tokens(parameters):
    two = Supervised([ANSWERS[0], ANSWERS[1]])
    first, second = (Supervised([one]).evaluate(parameters)["loss"] for one in ANSWERS[:2])
    assert two.evaluate(parameters)["loss"] == pytest.approx((11 * first + 3 * second) / 14, rel=1e-6)
    assert two.learn(parameters, np.array([1, 0]))[0]["loss"] == pytest.approx((11 * first + 3 * second) / 14, rel=1e-6)


def test_a_batch_is_the_examples_that_it_names(parameters):
    objective = Supervised(ANSWERS)
    some = Supervised([ANSWERS[4], ANSWERS[0]])
    assert objective.learn(parameters, np.array([4, 0]))[0] == some.learn(parameters, np.array([0, 1]))[0]


def test_supervised_tokens_are_those_of_the_answers():
    objective = Supervised(ANSWERS)
    assert (len(objective), objective.tokens) == (10, 4 * 11 + 3 * 3 + 3 * 13)


def test_answers_cut_away_entirely_cost_nothing_and_teach_nothing():
    nothing, model = Supervised([answer("x", "", whole=False)]), Full(base_weights())
    metrics, gradients = nothing.learn(model, np.array([0]))
    assert (metrics, nothing.evaluate(model), gradients.norm()) == ({"loss": 0.0}, {"loss": 0.0}, 0.0)


def test_the_supervised_gradient_agrees_with_central_differences(parameters):
    objective = Supervised([*ANSWERS, answer("long", "and so on " * (GROUP // 10))])
    name = "output.weight" if "output.weight" in parameters.trained else "output.weight.lora_B"
    for found, slope in slopes(parameters, objective, np.arange(11), name):
        assert found == pytest.approx(slope, rel=1e-2, abs=1e-5)


def test_supervised_needs_no_look_at_the_model_before_the_start():
    objective = Supervised(ANSWERS)
    objective.prepare(Full({}), [np.arange(10)])
    assert objective.evaluate(Full(base_weights()))["loss"] == pytest.approx(math.log(257), rel=1e-6)


# --- preferences


@pytest.mark.parametrize("knobs", [{}, {"dpo_beta": 0.5}, {"dpo_normalize_logratios_by_length": True}])
@pytest.mark.parametrize("size", [4, 18])
def test_the_first_batches_are_exactly_at_the_reference_whatever_their_lengths(parameters, knobs, size):
    objective = Preference([EncodedPair(one.chosen, one.rejected) for one in PAIRS], DPO(**knobs))
    order = np.random.default_rng(size).permutation(len(PAIRS))
    batches = [order[start : start + size] for start in range(0, len(PAIRS), size)]
    objective.prepare(parameters, batches)
    for examples in batches:
        metrics, _ = objective.learn(parameters, examples)
        assert {name: metrics[name] for name in ZEROS} == ZEROS
        assert metrics["loss"] == pytest.approx(DPO(**knobs).baseline, rel=1e-12)  # a mean of equal numbers


def test_a_batch_of_several_groups_is_at_the_reference_too(parameters):
    assert len(Batch.of([(one.chosen, one.rejected) for one in PAIRS]).groups) > 1
    objective = Preference(PAIRS, DPO())
    objective.prepare(parameters, [EVERY])
    metrics, _ = objective.learn(parameters, EVERY)
    assert {name: metrics[name] for name in ZEROS} == ZEROS


def test_evaluation_in_turn_is_at_the_reference_too(parameters):
    held_out = Preference(PAIRS, DPO())
    held_out.prepare(parameters, in_turn(len(held_out)))
    metrics = held_out.evaluate(parameters)
    assert {name: metrics[name] for name in ZEROS} == ZEROS


def test_scores_are_the_log_probabilities_chosen_beside_rejected(parameters):
    found = Preference(PAIRS, DPO()).score(parameters)
    alone = [
        [sequence_logps(parameters, Batch.of([(side,)]))[0] for side in (one.chosen, one.rejected)] for one in PAIRS
    ]
    assert (found.shape, found.dtype) == ((18, 2), np.float64)
    np.testing.assert_allclose(found, alone, rtol=1e-5)


@pytest.mark.parametrize(
    "method",
    [
        DPO(),
        DPO(dpo_beta=0.5, rpo_alpha=0.3),
        DPO(dpo_normalize_logratios_by_length=True, dpo_beta=2.0),
        DPO(dpo_reference_free=True, dpo_beta=0.2),
        DPO(simpo_gamma=0.5, dpo_beta=2.0),
    ],
    ids=["plain", "rpo", "normalised", "reference-free", "simpo"],
)
def test_the_metrics_are_those_of_the_loss_on_every_pair_beside_its_own_reference(parameters, method):
    objective = Preference(PAIRS, method)
    order = EVERY[::-1]
    objective.prepare(parameters, [order[:7], order[7:]])
    reference = objective.score(parameters)
    moved(parameters)
    policy = objective.score(parameters)
    logps = {
        "policy_chosen_logps": policy[:, 0],
        "policy_rejected_logps": policy[:, 1],
        "reference_chosen_logps": reference[:, 0],
        "reference_rejected_logps": reference[:, 1],
    }
    loss = preference_loss(
        **logps,
        chosen_lengths=np.array([one.chosen.targets.size for one in PAIRS], float),
        rejected_lengths=np.array([one.rejected.targets.size for one in PAIRS], float),
        weights=np.array([one.weight for one in PAIRS]),
        method=method,
    )
    expected = preference_metrics(loss, **logps)
    assert objective.evaluate(parameters) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert objective.learn(parameters, order)[0] == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    "method", [DPO(dpo_beta=0.5, rpo_alpha=0.3), DPO(simpo_gamma=0.5, dpo_beta=2.0)], ids=["rpo", "simpo"]
)
def test_the_preference_gradient_agrees_with_central_differences(parameters, method):
    objective, examples = Preference(PAIRS, method), EVERY[3:][::-1]
    assert len(Batch.of([(PAIRS[at].chosen, PAIRS[at].rejected) for at in examples]).groups) > 1
    objective.prepare(parameters, [examples])
    moved(parameters)
    name = "output.weight" if "output.weight" in parameters.trained else "output.weight.lora_B"
    for found, slope in slopes(parameters, objective, examples, name):
        assert found == pytest.approx(slope, rel=2e-2, abs=1e-3)


def test_a_pair_of_weight_zero_teaches_nothing(parameters):
    objective = Preference([pair("why", "Certainly", "No", 0.0)], DPO())
    objective.prepare(parameters, [np.array([0])])
    metrics, gradients = objective.learn(parameters, np.array([0]))
    assert (metrics["loss"], gradients.norm()) == (0.0, 0.0)


def test_a_pairs_weight_multiplies_its_gradient():
    model = Full(base_weights())
    norms = []
    for weight in (1.0, 4.0):
        objective = Preference([pair("why", "Certainly", "No", weight)], DPO())
        objective.prepare(model, [np.array([0])])
        norms.append(objective.learn(model, np.array([0]))[1].norm())
    assert norms[1] == pytest.approx(4 * norms[0], rel=1e-6)


def test_a_step_along_the_gradient_prefers_the_chosen_answers(parameters):
    objective, adam = Preference(PAIRS[:3], DPO()), Adam.of(parameters.trained)
    examples = np.arange(3)
    objective.prepare(parameters, [examples])
    losses = []
    for _ in range(4):
        metrics, gradients = objective.learn(parameters, examples)
        losses.append(metrics["loss"])
        adam.step(parameters.trained, gradients, rate=0.003, decay=0.0, scale=1.0)
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))
    assert objective.learn(parameters, examples)[0]["accuracy"] == 1.0


def test_preference_tokens_are_those_of_both_sides():
    objective = Preference(PAIRS[:2], DPO())
    assert (len(objective), objective.tokens) == (2, 16 + 15 + 4 + 271)
    assert (len(Preference([], DPO())), Preference([], DPO()).tokens) == (0, 0)


# --- in turn


@pytest.mark.parametrize(("examples", "sizes"), [(0, []), (1, [1]), (16, [16]), (17, [16, 1]), (40, [16, 16, 8])])
def test_examples_are_scored_in_their_order_sixteen_at_once(examples, sizes):
    batches = in_turn(examples)
    assert [len(batch) for batch in batches] == sizes
    assert list(itertools.chain(*batches)) == list(range(examples))


def test_an_evaluation_of_pairs_without_tokens_is_zero():
    nothing = EncodedPair(answer("x", "", whole=False), answer("x", "", whole=False))
    objective, model = Preference([nothing], DPO()), Full(base_weights())
    assert nothing.chosen.contexts.shape == (len(ORDERS), 0)
    objective.prepare(model, in_turn(1))
    assert objective.score(model).tolist() == [[0.0, 0.0]]
