import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from preftune.local.engine.encode import Cut, Encoded, encode
from preftune.local.engine.model import Gradients, Weights, base_weights
from preftune.local.engine.train import (
    Checkpoint,
    EarlyStopping,
    EpochEnd,
    Item,
    Pair,
    Preference,
    Row,
    Settings,
    Supervised,
    spread,
    total_steps,
    train,
)
from preftune.losses import DPO

CONSTANT = {"schedule": "linear", "min_rate_ratio": 1.0}


class Slope:
    """An objective whose gradient is always the same: the loss a linear function of two numbers."""

    def __init__(self, gradient: Sequence[float] = (3.0, 4.0), *, examples: int = 1, losses: Iterable[float] = ()):
        self._gradient, self._examples, self._losses = np.array(gradient, np.float32), examples, iter(losses)
        self.seen: list[list[int]] = []

    def __len__(self) -> int:
        return self._examples

    def prepare(self, weights, batches) -> None:
        self.prepared = [batch.tolist() for batch in batches]

    def learn(self, weights, examples) -> tuple[dict[str, float], Gradients]:
        self.seen.append(examples.tolist())
        return {"loss": float(self._gradient @ weights["w"])}, Gradients({"w": self._gradient.copy()}, {})

    def evaluate(self, weights) -> dict[str, float]:
        return {"loss": next(self._losses)}


def two(first: float = 0.0, second: float = 0.0) -> Weights:
    return {"w": np.array([first, second], np.float32)}


def outline(items: Iterable[Item]) -> list[tuple[Any, ...]]:
    """Return what happened in words and numbers, without the metrics and the weights."""
    told: list[tuple[Any, ...]] = []
    for item in items:
        if isinstance(item, Row):
            told.append((item.split, item.step))
        elif isinstance(item, EpochEnd):
            told.append(("epoch", item.step, item.number))
        elif isinstance(item, Checkpoint):
            told.append(("final" if item.final else "checkpoint", item.step))
        else:
            told.append(("stopped", item.step, item.best_step, item.best_loss))
    return told


def rows(items: Iterable[Item], split: str = "train") -> list[Row]:
    return [item for item in items if isinstance(item, Row) and item.split == split]


def answer(context: str, text: str) -> Encoded:
    return encode(Cut(context.encode(), text.encode(), whole=True))


ANSWERS = [answer(f"question {n % 3}", ["yes, it is", "no", "it may be so"][n % 3]) for n in range(10)]
PAIRS = [Pair(answer(f"question {n}", "Certainly: four"), answer(f"question {n}", "No idea, sorry")) for n in range(16)]
SHORT = Settings(epochs=2, batch_size=4, rate=0.02, evals=2, checkpoints=2)


# --- it learns


def test_supervised_loss_falls_from_that_of_a_guess():
    losses = [row.metrics["loss"] for row in rows(train(base_weights(), Supervised(ANSWERS), SHORT))]
    assert losses[0] == pytest.approx(math.log(257), rel=1e-6)  # 256 bytes and the end mark, all alike
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))
    assert losses[-1] < 0.8 * losses[0]


def test_supervised_evaluation_is_the_mean_over_tokens():
    weights = base_weights()
    weights["output.bias"][ord("n")] = 3.0
    objective, several = Supervised([ANSWERS[1]]), Supervised([ANSWERS[1]] * 40)
    # 3 tokens n, o and the end: two at -ln(256 + e**3), one with 3 more
    assert objective.evaluate(weights)["loss"] == pytest.approx(math.log(256 + math.exp(3)) - 1, rel=1e-6)
    assert several.evaluate(weights)["loss"] == pytest.approx(objective.evaluate(weights)["loss"], rel=1e-12)
    assert objective.learn(weights, np.array([0]))[0] == objective.evaluate(weights)


def test_answers_cut_away_entirely_cost_nothing_and_teach_nothing():
    nothing = Supervised([encode(Cut(b"x", b"", whole=False))])
    metrics, gradients = nothing.learn(base_weights(), np.array([0]))
    assert (metrics, nothing.evaluate(base_weights()), gradients.norm()) == ({"loss": 0.0}, {"loss": 0.0}, 0.0)


def test_preference_accuracy_and_margin_rise_and_the_loss_falls():
    settings = Settings(epochs=3, batch_size=8, rate=0.02, evals=3)
    held_out = Preference(PAIRS[:4], DPO())
    weights = base_weights()
    items = list(train(weights, Preference(PAIRS[4:], DPO()), settings, held_out))
    first, last = rows(items)[0].metrics, rows(items)[-1].metrics
    assert (first["accuracy"], last["accuracy"]) == (0.0, 1.0)
    assert last["loss"] < first["loss"]
    assert last["rewards_chosen"] > 0 > last["rewards_rejected"]
    assert last["logps_chosen"] > first["logps_chosen"]
    evals = [row.metrics for row in rows(items, "eval")]
    assert [row["accuracy"] for row in evals] == [1.0] * 3
    assert evals[0]["margin"] < evals[1]["margin"] < evals[2]["margin"]


@pytest.mark.parametrize("knobs", [{}, {"dpo_beta": 0.5}, {"dpo_normalize_logratios_by_length": True}])
def test_step_1_of_dpo_is_exactly_at_the_reference(knobs):
    method, weights = DPO(**knobs), base_weights()
    list(train(weights, Supervised(ANSWERS), SHORT))  # a reference that is no uniform guess
    objective = Preference(PAIRS, method)
    row = rows([next(train(weights, objective, Settings(epochs=1, batch_size=4, rate=0.02)))])[0]
    zeros = dict.fromkeys(("accuracy", "rewards_chosen", "rewards_rejected", "margin", "kl_chosen", "kl_rejected"), 0.0)
    assert {name: row.metrics[name] for name in ("loss", *zeros)} == {"loss": method.baseline} | zeros


def test_the_held_out_reference_gives_exactly_zero_too():
    held_out, weights = Preference(PAIRS * 2, DPO()), base_weights()
    list(train(weights, Supervised(ANSWERS), SHORT))
    still = Settings(epochs=1, batch_size=len(PAIRS), rate=0.0, evals=1)
    metrics = rows(train(weights, Preference(PAIRS, DPO()), still, held_out), "eval")[0].metrics
    assert (metrics["loss"], metrics["accuracy"], metrics["kl_chosen"]) == (math.log(2), 0.0, 0.0)


def test_the_gradient_of_the_preference_loss_agrees_with_central_differences():
    pairs = [
        Pair(pair.chosen, pair.rejected, weight=weight) for pair, weight in zip(PAIRS, (1.0, 0.5, 2.0), strict=False)
    ]
    objective, weights, examples = Preference(pairs, DPO(dpo_beta=0.5, rpo_alpha=0.3)), base_weights(), np.arange(3)
    objective.prepare(weights, [examples])
    list(train(weights, Supervised(ANSWERS), SHORT))
    found = objective.learn(weights, examples)[1].dense["output.bias"]
    for index in (ord("C"), ord("N"), ord("i")):
        ends = []
        for step in (0.01, -0.01):
            moved = weights | {"output.bias": weights["output.bias"].copy()}
            moved["output.bias"][index] += step
            ends.append(objective.learn(moved, examples)[0]["loss"])
        assert found[index] == pytest.approx((ends[0] - ends[1]) / 0.02, rel=1e-2, abs=1e-4)


def test_a_pair_of_weight_zero_teaches_nothing():
    objective, weights = Preference([Pair(PAIRS[0].chosen, PAIRS[0].rejected, weight=0.0)], DPO()), base_weights()
    metrics = rows(train(weights, objective, Settings(epochs=2, batch_size=1, rate=0.1)))[-1].metrics
    assert (metrics["loss"], metrics["grad_norm"], metrics["kl_chosen"]) == (0.0, 0.0, 0.0)


# --- one seed, one run


def run(seed: int) -> tuple[list[Any], Weights]:
    weights, held_out = base_weights(), Preference(PAIRS[:5], DPO())
    settings = Settings(epochs=2, batch_size=4, rate=0.02, evals=2, checkpoints=2, seed=seed, warmup_ratio=0.2)
    items = list(train(weights, Preference(PAIRS[5:], DPO()), settings, held_out))
    return [item if not isinstance(item, Checkpoint) else (item.step, item.final) for item in items], weights


def test_one_seed_gives_the_same_items_and_weights_bit_for_bit():
    (first, first_weights), (second, second_weights) = run(7), run(7)
    assert first == second
    for name, value in first_weights.items():
        np.testing.assert_array_equal(value, second_weights[name])


def test_another_seed_gives_another_run():
    assert run(7)[0] != run(8)[0]


def test_every_epoch_sees_every_example_once_in_an_order_of_its_own():
    objective = Slope(examples=10)
    list(train(two(), objective, Settings(epochs=3, batch_size=4, rate=0.1)))
    assert [len(batch) for batch in objective.seen] == [4, 4, 2] * 3
    epochs = [list(itertools.chain(*objective.seen[start : start + 3])) for start in (0, 3, 6)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_reference_is_prepared_in_the_batches_of_the_first_epoch():
    objective = Slope(examples=10)
    list(train(two(), objective, Settings(epochs=2, batch_size=4, rate=0.1)))
    assert objective.prepared == objective.seen[:3]


# --- steps


@pytest.mark.parametrize(
    ("total", "count", "steps"),
    [
        (16, 3, [6, 11, 16]),
        (452, 10, [46, 91, 136, 181, 226, 272, 317, 362, 407, 452]),
        (120, 10, [12, 24, 36, 48, 60, 72, 84, 96, 108, 120]),
        (3, 7, [1, 2, 3]),
        (5, 1, [5]),
        (5, 0, []),
    ],
)
def test_events_are_spread_evenly_and_the_last_is_at_the_end(total, count, steps):
    assert spread(total, count) == steps


@pytest.mark.parametrize(
    ("examples", "batch", "epochs", "steps"), [(10, 4, 2, 6), (8, 4, 3, 6), (3, 8, 2, 2), (1, 1, 5, 5)]
)
def test_a_short_last_batch_is_a_step_too(examples, batch, epochs, steps):
    settings = Settings(epochs=epochs, batch_size=batch, rate=0.1)
    assert total_steps(examples, settings) == steps
    items = list(train(two(), Slope(examples=examples), settings))
    assert [row.step for row in rows(items)] == list(range(1, steps + 1))


def test_rows_tell_how_much_of_the_epochs_is_done():
    items = train(two(), Slope(examples=10), Settings(epochs=2, batch_size=4, rate=0.1))
    assert [row.epoch for row in rows(items)] == pytest.approx([1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2])


def test_items_come_in_the_promised_order():
    settings = Settings(epochs=2, batch_size=2, rate=0.1, evals=3, checkpoints=4)
    assert outline(train(two(), Slope(examples=4), settings, Slope(losses=[3.0, 2.0, 1.0]))) == [
        ("train", 1),
        ("checkpoint", 1),
        ("train", 2),
        ("epoch", 2, 1),
        ("eval", 2),
        ("checkpoint", 2),
        ("train", 3),
        ("eval", 3),
        ("checkpoint", 3),
        ("train", 4),
        ("epoch", 4, 2),
        ("eval", 4),
        ("final", 4),
    ]


@pytest.mark.parametrize("held_out", [None, Slope(examples=0)])
def test_without_held_out_examples_nothing_is_evaluated(held_out):
    settings = Settings(epochs=1, batch_size=1, rate=0.1, evals=1, early_stopping=EarlyStopping())
    assert outline(train(two(), Slope(), settings, held_out)) == [("train", 1), ("epoch", 1, 1), ("final", 1)]


def test_the_final_checkpoint_is_the_only_one_unless_told():
    items = outline(train(two(), Slope(), Settings(epochs=4, batch_size=1, rate=0.1)))
    assert [item for item in items if item[0] in ("checkpoint", "final")] == [("final", 4)]


def test_a_checkpoint_holds_the_weights_of_its_step():
    settings, kept = Settings(epochs=4, batch_size=1, rate=0.5, checkpoints=2, max_grad_norm=0.0, **CONSTANT), {}
    for item in train(two(), Slope(), settings):
        if isinstance(item, Checkpoint):
            kept[item.step] = item.weights["w"].copy()
    np.testing.assert_allclose([kept[2], kept[4]], [[-1.0, -1.0], [-2.0, -2.0]], rtol=1e-4)  # Adam: 0.5 a step


# --- the optimiser's knobs


def test_the_rate_of_each_row_is_its_share_of_the_peak():
    settings = Settings(epochs=6, batch_size=1, rate=0.1, schedule="linear", warmup_ratio=1 / 3, min_rate_ratio=0.2)
    shares = [row.metrics["learning_rate"] for row in rows(train(two(), Slope(), settings))]
    assert shares == pytest.approx([0.5, 1.0, 1.0, 0.8, 0.6, 0.4])


def test_the_share_scales_the_step():
    settings = Settings(epochs=2, batch_size=1, rate=0.1, schedule="linear", warmup_ratio=1.0, max_grad_norm=0.0)
    weights = two()
    list(train(weights, Slope(), settings))
    np.testing.assert_allclose(weights["w"], [-0.15, -0.15], rtol=1e-4)  # 0.1 * 1/2 and 0.1


def test_clipping_shortens_the_gradient_and_reports_its_norm_before():
    weights = two()
    settings = Settings(epochs=1, batch_size=1, rate=1.0, max_grad_norm=1e-8)
    row = rows(train(weights, Slope((3.0, 4.0)), settings))[0]
    assert row.metrics["grad_norm"] == 5.0
    # clipped to (0.6, 0.8) * 1e-8, beside Adam's epsilon of 1e-8: 0.6 / 1.6 and 0.8 / 1.8
    np.testing.assert_allclose(weights["w"], [-0.375, -4 / 9], rtol=1e-4)


@pytest.mark.parametrize("max_grad_norm", [0.0, 5e-8, 1.0])
def test_a_gradient_within_the_limit_is_left_alone_and_zero_turns_clipping_off(max_grad_norm):
    weights = two()
    settings = Settings(epochs=1, batch_size=1, rate=1.0, max_grad_norm=max_grad_norm)
    list(train(weights, Slope((3e-8, 4e-8)), settings))
    np.testing.assert_allclose(weights["w"], [-0.75, -0.8], rtol=1e-4)  # 3 / (3 + 1) and 4 / (4 + 1)


def test_weight_decay_shrinks_what_has_no_gradient():
    weights = two(1.0, -2.0)
    settings = Settings(epochs=2, batch_size=1, rate=0.1, weight_decay=0.5, **CONSTANT)
    row = rows(train(weights, Slope((0.0, 0.0)), settings))[-1]
    np.testing.assert_allclose(weights["w"], [0.9025, -1.805], rtol=1e-6)  # (1 - 0.1 * 0.5) ** 2
    assert row.metrics["grad_norm"] == 0.0


# --- early stopping


def stopping_run(losses: Sequence[float], *, rule: EarlyStopping, checkpoints: int = 1) -> list[Item]:
    settings = Settings(
        epochs=len(losses), batch_size=1, rate=0.5, evals=len(losses), checkpoints=checkpoints, max_grad_norm=0.0,
        early_stopping=rule, **CONSTANT,
    )  # fmt: skip
    return list(train(two(), Slope(), settings, Slope(losses=losses)))


def end(losses: Sequence[float], **rule: Any) -> list[tuple[Any, ...]]:
    return outline(stopping_run(losses, rule=EarlyStopping(**rule)))[-2:]


def test_it_halts_after_patience_evaluations_without_improvement_and_promotes_the_best():
    losses = [5.0, 4.0, 3.0, 3.5, 3.2, 1.0, 1.0]
    items = stopping_run(losses, rule=EarlyStopping(patience=2))
    assert outline(items)[-2:] == [("stopped", 5, 3, 3.0), ("final", 3)]
    assert isinstance(items[-1], Checkpoint)
    np.testing.assert_allclose(items[-1].weights["w"], [-1.5, -1.5], rtol=1e-4)  # as they were after step 3


def test_an_improvement_begins_the_wait_anew():
    assert end([5.0, 6.0, 4.0, 6.0, 3.0, 6.0, 6.0, 0.0], patience=2) == [("stopped", 7, 5, 3.0), ("final", 5)]


def test_an_improvement_has_to_be_larger_than_min_delta():
    losses = [5.0, 4.75, 4.5, 4.25]
    assert end(losses, patience=2, min_delta=0.5, warmup_evals=0) == [("stopped", 3, 1, 5.0), ("final", 1)]
    # each is 0.25 lower, which is not more than 0.25; every second one is 0.5 lower than the best
    assert end(losses, patience=2, min_delta=0.25, warmup_evals=0) == [("eval", 4), ("final", 4)]


def test_warm_up_evaluations_set_the_best_and_never_stop():
    losses = [1.0, 2.0, 2.0, 2.0, 2.0]
    assert end(losses, patience=1, warmup_evals=3) == [("stopped", 4, 1, 1.0), ("final", 1)]
    assert end(losses, patience=1, warmup_evals=0) == [("stopped", 2, 1, 1.0), ("final", 1)]


def test_a_run_that_keeps_improving_is_never_stopped():
    assert end([3.0, 2.0, 1.0], patience=1, warmup_evals=0) == [("eval", 3), ("final", 3)]


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_loss_that_is_no_number_halts_at_once(broken):
    assert end([2.0, broken, 1.0], patience=9, warmup_evals=9) == [("stopped", 2, 1, 2.0), ("final", 1)]


def test_where_nothing_ever_improved_the_halt_step_is_promoted():
    items = stopping_run([math.nan, 1.0], rule=EarlyStopping())
    assert outline(items)[-2:] == [("stopped", 1, 1, None), ("final", 1)]
    assert isinstance(items[-1], Checkpoint)
    np.testing.assert_allclose(items[-1].weights["w"], [-0.5, -0.5], rtol=1e-4)


def test_the_checkpoint_of_a_step_comes_before_the_stop():
    items = stopping_run([1.0, 2.0, 3.0], rule=EarlyStopping(patience=1), checkpoints=3)
    assert outline(items) == [
        ("train", 1),
        ("epoch", 1, 1),
        ("eval", 1),
        ("checkpoint", 1),
        ("train", 2),
        ("epoch", 2, 2),
        ("eval", 2),
        ("checkpoint", 2),
        ("stopped", 2, 1, 1.0),
        ("final", 1),
    ]


def test_the_documented_sample_halts_at_72_and_promotes_48():
    # 120 steps, 10 evaluations, 6 done: the best is the 4th, two without an improvement follow
    losses = [6.0, 5.0, 4.0, 3.0, 3.5, 3.5, 0.0, 0.0, 0.0, 0.0]
    settings = Settings(epochs=5, batch_size=1, rate=0.1, evals=10, early_stopping=EarlyStopping())
    told = outline(train(two(), Slope(examples=24), settings, Slope(losses=losses)))
    assert told[-2:] == [("stopped", 72, 48, 3.0), ("final", 48)]
    assert [item for item in told if item[0] == "epoch"][-1] == ("epoch", 72, 3)
