import hashlib
import itertools
import math
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from preftune.local.engine.encode import Cut, Encoded, EncodedPair, encode
from preftune.local.engine.model import base_weights
from preftune.local.engine.objectives import Preference, Supervised
from preftune.local.engine.parameters import Full, Gradients, LowRank, Parameters, copied
from preftune.local.engine.train import (
    Checkpoint,
    EarlyStopping,
    EpochEnd,
    Item,
    Row,
    Settings,
    State,
    Stopped,
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

    def prepare(self, parameters, batches) -> None:
        self.prepared = [batch.tolist() for batch in batches]

    def learn(self, parameters, examples) -> tuple[dict[str, float], Gradients]:
        self.seen.append(examples.tolist())
        return {"loss": float(self._gradient @ parameters.whole("w"))}, Gradients({"w": self._gradient.copy()}, {})

    def evaluate(self, parameters) -> dict[str, float]:
        return {"loss": next(self._losses)}


def two(first: float = 0.0, second: float = 0.0) -> Full:
    return Full({"w": np.array([first, second], np.float32)})


PARAMETERS = {
    "full": lambda: Full(base_weights()),
    "low rank": lambda: LowRank(base_weights(), rank=4, alpha=8, seed=3),
}


@pytest.fixture(params=PARAMETERS)
def parameters(request) -> Parameters:
    """Return the whole model to train, or an adapter beside it."""
    return PARAMETERS[request.param]()


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
PAIRS = [
    EncodedPair(answer(f"question {n}", "Certainly: four"), answer(f"question {n}", "No idea, sorry"))
    for n in range(16)
]
SHORT = Settings(epochs=2, batch_size=4, rate=0.02, evals=2, checkpoints=2)


# --- it learns


def test_supervised_loss_falls_from_that_of_a_guess(parameters):
    losses = [row.metrics["loss"] for row in rows(train(parameters, Supervised(ANSWERS), SHORT))]
    assert losses[0] == pytest.approx(math.log(257), rel=1e-6)  # 256 bytes and the end mark, all alike
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))
    assert losses[-1] < 0.9 * losses[0]


def test_preference_accuracy_and_margin_rise_and_the_loss_falls(parameters):
    settings = Settings(epochs=3, batch_size=8, rate=0.02, evals=3)
    held_out = Preference(PAIRS[:4], DPO())
    items = list(train(parameters, Preference(PAIRS[4:], DPO()), settings, held_out))
    first, last = rows(items)[0].metrics, rows(items)[-1].metrics
    assert (first["accuracy"], last["accuracy"]) == (0.0, 1.0)
    assert last["loss"] < first["loss"]
    assert last["rewards_chosen"] > 0 > last["rewards_rejected"]
    assert last["logps_chosen"] > first["logps_chosen"]
    evals = [row.metrics for row in rows(items, "eval")]
    assert [row["accuracy"] for row in evals] == [1.0] * 3
    assert evals[0]["margin"] < evals[1]["margin"] < evals[2]["margin"]


AT_REFERENCE = ("accuracy", "rewards_chosen", "rewards_rejected", "margin", "kl_chosen", "kl_rejected")
UNEVEN = [EncodedPair(answer("go", "so " * (97 * n % 60)), answer("go", "no " * (41 * n % 80))) for n in range(16)]


@pytest.mark.parametrize("pairs", [PAIRS, UNEVEN], ids=["short", "of several groups"])
def test_step_1_of_dpo_is_exactly_at_the_reference(parameters, pairs):
    list(train(parameters, Supervised(ANSWERS), SHORT))  # a reference that is no uniform guess
    still = Settings(epochs=1, batch_size=16, rate=0.0, evals=1)
    items = list(train(parameters, Preference(pairs, DPO()), still, Preference(pairs * 2, DPO())))
    for split in ("train", "eval"):
        metrics = rows(items, split)[0].metrics
        assert {name: metrics[name] for name in AT_REFERENCE} == dict.fromkeys(AT_REFERENCE, 0.0)
        assert metrics["loss"] == pytest.approx(math.log(2), rel=1e-12)  # a mean of equal numbers


def test_a_pair_of_weight_zero_teaches_nothing(parameters):
    objective = Preference([EncodedPair(PAIRS[0].chosen, PAIRS[0].rejected, weight=0.0)], DPO())
    metrics = rows(train(parameters, objective, Settings(epochs=2, batch_size=1, rate=0.1)))[-1].metrics
    assert (metrics["loss"], metrics["grad_norm"], metrics["kl_chosen"]) == (0.0, 0.0, 0.0)


def test_full_training_moves_the_weights_and_every_kind_of_them():
    weights, untrained = base_weights(), base_weights()
    list(train(Full(weights), Supervised(ANSWERS), SHORT))
    assert [name for name in weights if np.array_equal(weights[name], untrained[name])] == []


def test_training_an_adapter_moves_every_part_of_it_and_neither_the_base_nor_a_bias():
    base, untouched = base_weights(), base_weights()
    adapter = LowRank(base, rank=4, alpha=8, seed=3)
    before = copied(adapter.trained)
    list(train(adapter, Supervised(ANSWERS), SHORT))
    for name, array in untouched.items():
        np.testing.assert_array_equal(base[name], array, err_msg=name)
    assert [name for name in before if np.array_equal(adapter.trained[name], before[name])] == []
    merged = adapter.merged()
    still = [name for name in merged if np.array_equal(merged[name], untouched[name])]
    assert still == ["hidden.bias", "output.bias"]


def test_an_adapter_leaves_rows_that_no_token_touched_as_the_base_has_them():
    adapter = LowRank(base_weights(), rank=4, alpha=8, seed=3)
    list(train(adapter, Supervised(ANSWERS), SHORT))
    prompt = adapter.merged()["prompt"]
    assert np.flatnonzero(prompt.any(axis=1)).tolist() == sorted({*itertools.chain(*(a.prompt for a in ANSWERS))})


# --- one seed, one run


def run(kind: str, seed: int) -> tuple[list[Any], str]:
    """Return all that happens in a run, and a fingerprint of the model that it makes."""
    parameters, held_out = PARAMETERS[kind](), Preference(PAIRS[:5], DPO())
    settings = Settings(epochs=2, batch_size=13, rate=0.02, evals=2, checkpoints=2, seed=seed, warmup_ratio=0.2)
    items = list(train(parameters, Preference(PAIRS[5:] + UNEVEN, DPO()), settings, held_out))
    told = [item if not isinstance(item, Checkpoint) else (item.step, item.final) for item in items]
    return told, hashlib.sha256(b"".join(array.tobytes() for array in parameters.trained.values())).hexdigest()


@pytest.mark.parametrize("kind", PARAMETERS)
def test_one_seed_gives_the_same_items_and_weights_bit_for_bit(kind):
    assert run(kind, 7) == run(kind, 7)


@pytest.mark.parametrize("kind", PARAMETERS)
def test_another_seed_gives_another_run(kind):
    assert run(kind, 7)[0] != run(kind, 8)[0]


ELSEWHERE = """
import runpy, sys
import numpy as np

ballast = np.ones(int(sys.argv[2]), np.uint8)  # what is made later then lies elsewhere in memory
run = runpy.run_path(sys.argv[1])["run"]
print([run(kind, 7) for kind in ("full", "low rank")])
"""


def test_one_seed_gives_the_same_items_and_weights_in_any_process_with_one_blas_thread():
    told = [
        subprocess.run(
            [sys.executable, "-c", ELSEWHERE, __file__, ballast],
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": hashes},
            check=True, capture_output=True, text=True,
        ).stdout
        for ballast, hashes in (("1", "1"), ("1000003", "2"))
    ]  # fmt: skip
    assert told[0] == told[1]
    assert "grad_norm" in told[0]


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


@pytest.mark.parametrize(
    ("examples", "batch", "epochs", "evals", "checkpoints", "steps", "eval_steps", "kept"),
    [
        (10, 4, 2, 3, 2, 6, [2, 4, 6], [3, 6]),
        (10, 8, 3, 4, 4, 6, [2, 3, 5, 6], [2, 3, 5, 6]),  # 4 a batch, gradients of 2 accumulated
        (5, 1, 1, 9, 9, 5, [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]),
        (3, 100, 4, 1, 3, 4, [4], [2, 3, 4]),
    ],
)
def test_evaluations_and_checkpoints_are_as_many_as_asked_for_where_there_are_steps_for_them(
    examples, batch, epochs, evals, checkpoints, steps, eval_steps, kept
):
    settings = Settings(epochs=epochs, batch_size=batch, rate=0.1, evals=evals, checkpoints=checkpoints)
    items = list(train(two(), Slope(examples=examples), settings, Slope(losses=[1.0] * 9)))
    assert [row.step for row in rows(items)] == list(range(1, steps + 1))
    assert [row.step for row in rows(items, "eval")] == eval_steps
    assert [item.step for item in items if isinstance(item, Checkpoint)] == kept
    assert [item.number for item in items if isinstance(item, EpochEnd)] == list(range(1, epochs + 1))


def test_warm_up_takes_exactly_its_share_of_the_steps():
    settings = Settings(epochs=100, batch_size=1, rate=0.1, schedule="linear", warmup_ratio=0.07)
    shares = [row.metrics["learning_rate"] for row in rows(train(two(), Slope(), settings))]
    assert shares == pytest.approx([step / 7 for step in range(1, 8)] + [1 - n / 93 for n in range(93)])


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
            kept[item.step] = item.parameters.trained["w"].copy()
    np.testing.assert_allclose([kept[2], kept[4]], [[-1.0, -1.0], [-2.0, -2.0]], rtol=1e-4)  # Adam: 0.5 a step


# --- the optimiser's knobs


def test_the_rate_of_each_row_is_its_share_of_the_peak():
    settings = Settings(epochs=6, batch_size=1, rate=0.1, schedule="linear", warmup_ratio=1 / 3, min_rate_ratio=0.2)
    shares = [row.metrics["learning_rate"] for row in rows(train(two(), Slope(), settings))]
    assert shares == pytest.approx([0.5, 1.0, 1.0, 0.8, 0.6, 0.4])


def test_the_share_scales_the_step():
    settings = Settings(epochs=2, batch_size=1, rate=0.1, schedule="linear", warmup_ratio=1.0, max_grad_norm=0.0)
    parameters = two()
    list(train(parameters, Slope(), settings))
    np.testing.assert_allclose(parameters.trained["w"], [-0.15, -0.15], rtol=1e-4)  # 0.1 * 1/2 and 0.1


def test_clipping_shortens_the_gradient_and_reports_its_norm_before():
    parameters = two()
    settings = Settings(epochs=1, batch_size=1, rate=1.0, max_grad_norm=1e-8)
    row = rows(train(parameters, Slope((3.0, 4.0)), settings))[0]
    assert row.metrics["grad_norm"] == 5.0
    # clipped to (0.6, 0.8) * 1e-8, beside Adam's epsilon of 1e-8: 0.6 / 1.6 and 0.8 / 1.8
    np.testing.assert_allclose(parameters.trained["w"], [-0.375, -4 / 9], rtol=1e-4)


@pytest.mark.parametrize("max_grad_norm", [0.0, 5e-8, 1.0])
def test_a_gradient_within_the_limit_is_left_alone_and_zero_turns_clipping_off(max_grad_norm):
    parameters = two()
    settings = Settings(epochs=1, batch_size=1, rate=1.0, max_grad_norm=max_grad_norm)
    list(train(parameters, Slope((3e-8, 4e-8)), settings))
    np.testing.assert_allclose(parameters.trained["w"], [-0.75, -0.8], rtol=1e-4)  # 3 / (3 + 1) and 4 / (4 + 1)


def test_weight_decay_shrinks_what_has_no_gradient():
    parameters = two(1.0, -2.0)
    settings = Settings(epochs=2, batch_size=1, rate=0.1, weight_decay=0.5, **CONSTANT)
    row = rows(train(parameters, Slope((0.0, 0.0)), settings))[-1]
    np.testing.assert_allclose(parameters.trained["w"], [0.9025, -1.805], rtol=1e-6)  # (1 - 0.1 * 0.5) ** 2
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
    np.testing.assert_allclose(items[-1].parameters.trained["w"], [-1.5, -1.5], rtol=1e-4)  # as they were after step 3


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
    np.testing.assert_allclose(items[-1].parameters.trained["w"], [-0.5, -0.5], rtol=1e-4)


def test_the_final_checkpoint_after_an_early_stop_is_the_model_of_the_best_evaluation(parameters):
    turned = [EncodedPair(one.rejected, one.chosen) for one in PAIRS[:4]]
    held_out, settings = Preference(turned, DPO()), Settings(
        epochs=6, batch_size=4, rate=0.02, evals=12, early_stopping=EarlyStopping(), **CONSTANT
    )  # fmt: skip
    losses, best = [], {}
    for item in train(parameters, Preference(PAIRS[4:], DPO()), settings, held_out):
        if isinstance(item, Row) and item.split == "eval":
            losses.append(item.metrics["loss"])
            best = best or copied(parameters.trained)
    assert losses == sorted(losses)
    assert len(losses) == 3
    assert isinstance(item, Checkpoint)
    assert item.parameters is parameters
    assert held_out.evaluate(parameters)["loss"] == losses[0]
    for name, array in best.items():
        np.testing.assert_array_equal(parameters.trained[name], array, err_msg=name)


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


# --- halting where a test says


def test_a_training_halts_at_the_step_that_it_is_told():
    settings = Settings(epochs=5, batch_size=1, rate=0.5, halt_at=3, checkpoints=5, max_grad_norm=0.0, **CONSTANT)
    items = list(train(two(), Slope(), settings))
    assert outline(items)[-5:] == [
        ("train", 3),
        ("epoch", 3, 3),
        ("checkpoint", 3),
        ("stopped", 3, 3, None),
        ("final", 3),
    ]
    np.testing.assert_allclose(items[-1].parameters.trained["w"], [-1.5, -1.5], rtol=1e-4)


def test_a_halt_promotes_the_best_evaluation_where_early_stopping_watches():
    settings = Settings(epochs=5, batch_size=1, rate=0.5, halt_at=3, evals=5, early_stopping=EarlyStopping(patience=9))
    items = outline(train(two(), Slope(), settings, Slope(losses=[3.0, 2.0, 2.5])))
    assert items[-2:] == [("stopped", 3, 2, 2.0), ("final", 2)]


def test_a_halt_at_the_last_step_is_a_halt_and_one_behind_it_is_none():
    settings = [Settings(epochs=2, batch_size=1, rate=0.5, halt_at=step) for step in (2, 3)]
    ends = [outline(train(two(), Slope(), one))[-2:] for one in settings]
    assert ends == [[("stopped", 2, 2, None), ("final", 2)], [("epoch", 2, 2), ("final", 2)]]


# --- going on from a state


def told(items: Iterable[Item]) -> list[Any]:
    """Return all that happened to the last bit, checkpoints as the numbers of their states."""
    return [
        (item.step, item.state.numbers if item.state else None) if isinstance(item, Checkpoint) else item
        for item in items
    ]


def fingerprint(parameters: Parameters) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in parameters.trained.values())).hexdigest()


COURSES = {
    "early stopping": {"evals": 6, "early_stopping": EarlyStopping(patience=2)},
    "halted": {"evals": 2, "halt_at": 4},
    "to the end": {"evals": 3, "warmup_ratio": 0.3, "weight_decay": 0.01, "max_grad_norm": 0.1},
}
TURNED = [EncodedPair(one.rejected, one.chosen) for one in PAIRS[:4]]  # what is learned makes these worse


def course(kind: str, which: str, begin: State | None = None) -> tuple[Parameters, Iterator[Item]]:
    parameters, held_out = PARAMETERS[kind](), Preference(TURNED, DPO())
    settings = Settings(epochs=2, batch_size=4, rate=0.02, checkpoints=6, **COURSES[which])
    return parameters, train(parameters, Preference(PAIRS[4:], DPO()), settings, held_out, begin=begin)


def state_after(items: Iterable[Item], step: int) -> State:
    """Return the state of a step's checkpoint; whoever trained goes no further."""
    return next(item.state for item in items if isinstance(item, Checkpoint) and item.step == step and item.state)


@pytest.mark.parametrize("which", sorted(COURSES))
@pytest.mark.parametrize("kind", sorted(PARAMETERS))
def test_a_training_that_goes_on_from_any_state_is_the_undisturbed_one_bit_for_bit(kind, which):
    parameters, items = course(kind, which)
    whole, model = told(items), fingerprint(parameters)
    kept = [(index, item[0]) for index, item in enumerate(whole) if isinstance(item, tuple) and item[1]]
    assert [step for _, step in kept] == {"early stopping": [1, 2, 3], "halted": [1, 2, 3, 4]}.get(
        which, [1, 2, 3, 4, 5]
    )
    for index, step in kept:
        _, left = course(kind, which)
        parameters, rest = course(kind, which, begin=state_after(left, step))
        assert told(rest) == whole[index + 1 :]
        assert fingerprint(parameters) == model


def test_a_training_halted_exactly_at_a_checkpoint_goes_on_to_its_end_alone():
    _, left = course("low rank", "early stopping")
    _, rest = course("low rank", "early stopping", begin=state_after(left, 3))
    assert [type(item) for item in rest] == [Stopped, Checkpoint]


def test_supervised_training_goes_on_as_well():
    def learned(begin: State | None = None) -> tuple[Parameters, Iterator[Item]]:
        parameters = PARAMETERS["low rank"]()
        return parameters, train(parameters, Supervised(ANSWERS), SHORT, Supervised(ANSWERS[:3]), begin=begin)

    parameters, items = learned()
    whole, model = told(items), fingerprint(parameters)
    parameters, rest = learned(state_after(learned()[1], 3))
    after = told(rest)
    assert [item.step for item in rows(after)] == [4, 5, 6]
    assert after == whole[-len(after) :]
    assert fingerprint(parameters) == model


def test_early_stopping_goes_on_from_every_point_of_its_wait():
    losses = [5.0, 4.0, 3.0, 3.5, 3.2, 1.0, 1.0]
    settings = Settings(
        epochs=7, batch_size=1, rate=0.5, evals=7, checkpoints=7, max_grad_norm=0.0,
        early_stopping=EarlyStopping(patience=2), **CONSTANT,
    )  # fmt: skip
    whole = told(train(two(), Slope(), settings, Slope(losses=losses)))
    states = [item for item in whole if isinstance(item, tuple)]
    names = ("evals", "waited", "best_step", "best_loss", "halted")
    assert [tuple(numbers[name] for name in names) for _, numbers in states[:-1]] == [
        (1, 0, 1, 5.0, False), (2, 0, 2, 4.0, False), (3, 0, 3, 3.0, False), (4, 1, 3, 3.0, False), (5, 2, 3, 3.0, True)
    ]  # fmt: skip
    for step in range(1, 6):
        state = state_after(train(two(), Slope(), settings, Slope(losses=losses)), step)
        parameters = two()
        rest = told(train(parameters, Slope(), settings, Slope(losses=losses[step:]), begin=state))
        assert rest == whole[whole.index((step, state.numbers)) + 1 :]
        np.testing.assert_allclose(parameters.trained["w"], [-1.5, -1.5], rtol=1e-4)


def test_a_state_says_its_step_and_the_final_checkpoint_has_none():
    settings = Settings(epochs=3, batch_size=1, rate=0.5, checkpoints=3)
    kept = [item for item in train(two(), Slope(), settings) if isinstance(item, Checkpoint)]
    assert [(item.step, item.final, item.state and item.state.step) for item in kept] == [
        (1, False, 1), (2, False, 2), (3, True, None),
    ]  # fmt: skip
