from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from preftune.local.engine.encode import ORDERS, TABLE_BITS, VOCABULARY, Cut, Encoded, encode
from preftune.local.engine.model import GROUP, WIDTH, Batch, base_weights, learn, sequence_logps
from preftune.local.engine.parameters import Full, Gradients, LowRank, Weights

FACT = settings(max_examples=60, deadline=None, database=None, derandomize=True)
TABLES = (*(f"context_{order}" for order in ORDERS), "prompt")
ARRAYS = (*TABLES, "hidden.bias", "output.weight", "output.bias")
TRAINED = {
    "full": ARRAYS,
    "low rank": tuple(f"{name}.lora_{side}" for name in (*TABLES, "output.weight") for side in "AB"),
}
KINDS = tuple(TRAINED)


def answer(context: bytes, text: bytes, *, whole: bool = True) -> Encoded:
    return encode(Cut(context, text, whole=whole))


# examples of mixed sizes and lengths: one token, none at all, no prompt, two and three under one prompt
MIXED = [
    (answer(b"why is it", b"because it is"), answer(b"why is it", b"no", whole=False)),
    (answer(b"", b"hello"),),
    (answer(b"so what", b""), answer(b"cut away", b"", whole=False), answer(b"so so", b"so")),
]
PULLS = np.array([1.0, -0.5, 2.0, 1.5, 3.0, -1.0])


def long_examples() -> list[tuple[Encoded, ...]]:
    """Return pairs that fill several groups: one that is larger than a group, and small ones around it."""
    random = np.random.default_rng(5)
    sizes = [(600, 500), (2 * GROUP, 3), (40, 0), (900, 1), (700, 20), (15, 15)]
    return [
        tuple(answer(b"go on, number %d" % size, random.integers(0, 256, size, np.uint8).tobytes()) for size in pair)
        for pair in sizes
    ]


@dataclass(frozen=True, eq=False)
class Model:
    """Parameters beside what they were made of: the formulas of what they show can then be worked out again."""

    parameters: Full | LowRank
    base: Weights

    def shown(self, name: str, at: Any = slice(None), nudge: Mapping[str, NDArray[np.float64]] = {}) -> Any:
        """Return what the model is to read, in float64, what is trained moved by `nudge`."""

        def trained(array: str, rows: Any) -> NDArray[np.float64]:
            moved = nudge[array][rows] if array in nudge else 0.0
            return self.parameters.trained[array][rows].astype(np.float64) + moved

        if isinstance(self.parameters, Full):
            return trained(name, at)
        frozen = self.base[name][at].astype(np.float64)
        if name.endswith("bias"):
            return frozen
        scale = self.parameters.alpha / self.parameters.rank
        return frozen + scale * trained(f"{name}.lora_B", at) @ trained(f"{name}.lora_A", slice(None))


def read_rows(batch: Batch) -> dict[str, NDArray[np.uint16]]:
    return dict(zip(TABLES, (*batch.contexts, batch.prompt), strict=True))


def model_of(kind: str, batch: Batch, *, seed: int = 1) -> Model:
    """Return a model whose every number that the batch reads is random."""
    random, base = np.random.default_rng(seed), base_weights()
    for name, ids in read_rows(batch).items():
        base[name][ids] = random.normal(0, 0.3, (ids.size, WIDTH))
    base["hidden.bias"][:] = random.normal(0, 0.3, WIDTH)
    base["output.bias"][:] = random.normal(0, 0.3, VOCABULARY)
    if kind == "full":
        return Model(Full(base), base)
    adapter = LowRank(base, rank=3, alpha=5, seed=7)
    for name, ids in (read_rows(batch) | {"output.weight": np.arange(WIDTH)}).items():
        adapter.trained[f"{name}.lora_B"][ids] = random.normal(0, 0.3, (ids.size, 3))
    return Model(adapter, base)


def oracle(model: Model, sequence: Encoded, nudge: Mapping[str, NDArray[np.float64]] = {}) -> float:
    """Return the summed log-probability as the module's formulas say, token by token in float64."""
    inner, weight, outer = (model.shown(name, nudge=nudge) for name in ("hidden.bias", "output.weight", "output.bias"))
    words = model.shown("prompt", sequence.prompt, nudge)
    prompt = words.mean(axis=0) if len(words) else np.zeros(WIDTH)
    total = 0.0
    for ids, target in zip(sequence.contexts.T, sequence.targets, strict=True):
        seen = (model.shown(name, row, nudge) for name, row in zip(TABLES, ids, strict=False))
        logits = np.tanh(sum(seen, prompt) + inner) @ weight + outer
        total += logits[target] - np.logaddexp.reduce(logits)
    return float(total)


def flat(examples: list[tuple[Encoded, ...]]) -> list[Encoded]:
    return [sequence for example in examples for sequence in example]


def pulled(model: Model, batch: Batch, pulls: NDArray[np.float64]) -> Gradients:
    """Return the gradient of the sum of the log-probabilities, each times its pull."""
    return learn(model.parameters, batch, lambda sequences, _: pulls[sequences])[1]


def spread_out(gradients: Gradients, name: str, rows: int) -> NDArray[np.float32]:
    if name in gradients.dense:
        return gradients.dense[name]
    ids, values = gradients.rows[name]
    whole = np.zeros((rows, values.shape[1]), np.float32)
    whole[ids] = values
    return whole


# --- batches


def test_a_batch_lays_the_sequences_of_all_examples_end_to_end():
    batch = Batch.of(MIXED)
    assert batch.lengths.tolist() == [14, 2, 6, 1, 0, 3]
    assert batch.prompt_lengths.tolist() == [3, 3, 0, 2, 2, 1]
    assert batch.words.tolist() == [3, 3, 1, 2, 2, 1]
    assert batch.groups == [(slice(0, 6), slice(0, 26))]
    for found, each in ((batch.contexts.T, "contexts"), (batch.targets, "targets"), (batch.prompt, "prompt")):
        np.testing.assert_array_equal(found, np.concatenate([getattr(one, each).T for one in flat(MIXED)]))


def blank(size: int) -> Encoded:
    nothing = np.zeros(0, np.uint16)
    return Encoded(np.zeros((len(ORDERS), size), np.uint16), np.zeros(size, np.int32), nothing)


@FACT
@given(st.lists(st.lists(st.integers(0, GROUP + 300), min_size=1, max_size=3), min_size=1, max_size=9))
def test_groups_cover_every_token_once_in_order_and_never_split_an_example(sizes):
    groups = Batch.of([[blank(size) for size in example] for example in sizes]).groups
    sequence_ends = [0, *accumulate(len(example) for example in sizes)]
    token_ends = [0, *accumulate(sum(example) for example in sizes)]
    for ends, spans in ((sequence_ends, [one for one, _ in groups]), (token_ends, [one for _, one in groups])):
        assert (spans[0].start, spans[-1].stop) == (0, ends[-1])
        assert all(before.stop == after.start for before, after in pairwise(spans))
    whole_examples = set(zip(sequence_ends, token_ends, strict=True))
    assert {(sequences.stop, tokens.stop) for sequences, tokens in groups} <= whole_examples


@FACT
@given(st.lists(st.integers(0, GROUP + 300), min_size=1, max_size=12))
def test_a_group_ends_with_the_example_that_fills_it(sizes):
    groups = Batch.of([[blank(size)] for size in sizes]).groups
    assert all(tokens.stop - tokens.start >= GROUP for _, tokens in groups[:-1])
    assert all(sum(sizes[sequences.start : sequences.stop - 1]) < GROUP for sequences, _ in groups)


# --- log-probabilities


def test_the_base_model_is_the_same_each_time_and_knows_no_context():
    first, second = base_weights(), base_weights()
    assert {name: (array.shape, array.dtype) for name, array in first.items()} == {
        **dict.fromkeys(TABLES, ((1 << TABLE_BITS, WIDTH), np.float32)),
        "hidden.bias": ((WIDTH,), np.float32),
        "output.weight": ((WIDTH, VOCABULARY), np.float32),
        "output.bias": ((VOCABULARY,), np.float32),
    }
    for name in ARRAYS:
        np.testing.assert_array_equal(first[name], second[name])
        assert first[name].any() == (name == "output.weight")


def test_the_base_model_finds_every_token_equally_likely():
    found = sequence_logps(Full(base_weights()), Batch.of(MIXED))
    np.testing.assert_allclose(found, np.array([14, 2, 6, 1, 0, 3]) * -np.log(VOCABULARY), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("examples", [MIXED, long_examples()], ids=["mixed", "several groups"])
def test_log_probabilities_agree_with_the_formulas_in_float64(kind, examples):
    batch = Batch.of(examples)
    model = model_of(kind, batch)
    found = sequence_logps(model.parameters, batch)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [oracle(model, one) for one in flat(examples)], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_several_groups_scores_each_example_as_it_would_alone(kind):
    examples = long_examples()
    batch = Batch.of(examples)
    model = model_of(kind, batch)
    assert len(batch.groups) > 2
    alone = np.concatenate([sequence_logps(model.parameters, Batch.of([one])) for one in examples])
    np.testing.assert_allclose(sequence_logps(model.parameters, batch), alone, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("examples", [MIXED, long_examples()], ids=["mixed", "several groups"])
def test_learning_scores_what_scoring_alone_does_bit_for_bit_and_shows_it_to_the_pull(kind, examples):
    batch, seen = Batch.of(examples), []
    model = model_of(kind, batch)

    def pull(sequences: slice, logps: NDArray[np.float64]) -> NDArray[np.float64]:
        seen.append((sequences, logps.tolist()))
        return np.ones(logps.size)

    logps, _ = learn(model.parameters, batch, pull)
    np.testing.assert_array_equal(logps, sequence_logps(model.parameters, batch))
    assert seen == [(sequences, logps[sequences].tolist()) for sequences, _ in batch.groups]


def test_a_sequence_without_tokens_scores_zero_and_pulls_nothing():
    nothing, model = Batch.of([(answer(b"x", b"", whole=False),)]), Full(base_weights())
    logps, gradients = learn(model, nothing, lambda _, some: np.ones(some.size))
    assert (sequence_logps(model, nothing).tolist(), logps.tolist(), gradients.norm()) == ([0.0], [0.0], 0.0)


# --- logits that are too large to be exponentiated as they stand


def steep_model(batch: Batch, height: float) -> Model:
    """Return a random model whose bias favours one token by `height`."""
    model = model_of("full", batch)
    model.base["output.bias"][ord("h")] = height
    return model


@pytest.mark.parametrize("height", [-1e4, -100.0, -50.0, 50.0, 100.0, 1e4, 1e30])
def test_log_probabilities_and_gradients_stay_finite_and_right_for_logits_of_any_size(height):
    batch = Batch.of(MIXED)
    model = steep_model(batch, height)
    found = sequence_logps(model.parameters, batch)
    np.testing.assert_allclose(found, [oracle(model, one) for one in flat(MIXED)], rtol=1e-5, atol=1e-4)
    gradient = pulled(model, batch, PULLS)
    assert np.isfinite(gradient.norm())
    if height > 0:  # one token has all the probability: its bias is pulled by what is not it, each other by itself
        expected = np.zeros(VOCABULARY)
        for pull, one in zip(PULLS, flat(MIXED), strict=True):
            np.add.at(expected, one.targets, pull)
            expected[ord("h")] -= pull * one.targets.size
        np.testing.assert_allclose(gradient.dense["output.bias"], expected, atol=1e-4)


@pytest.mark.parametrize("height", [5.0, 59.9, 60.1, 79.0, 87.0, 1e3])
@pytest.mark.parametrize("sign", [1, -1])
def test_gradients_stay_finite_where_all_logits_are_large_alike(height, sign):
    batch = Batch.of([(answer(b"", b"hello"),)])
    weights = base_weights()
    weights["hidden.bias"][0] = 20.0  # saturates: the first hidden value is exactly 1
    weights["output.weight"][:] = 0
    weights["output.weight"][0] = sign * height
    model = Model(Full(weights), weights)
    logps, gradients = learn(model.parameters, batch, lambda _, some: np.full(some.size, 1e-3))
    assert logps == pytest.approx([-6 * np.log(VOCABULARY)], rel=1e-6)
    expected = np.full(VOCABULARY, -6e-3 / VOCABULARY)
    np.add.at(expected, [*b"hello", VOCABULARY - 1], 1e-3)
    np.testing.assert_allclose(gradients.dense["output.bias"], expected, rtol=1e-4)
    np.testing.assert_allclose(gradients.dense["output.weight"][0], expected, rtol=1e-4)
    assert np.isfinite(gradients.norm())


# --- gradients


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in TRAINED[kind]])
def test_the_gradient_agrees_with_central_differences_of_the_formulas(kind, name):
    batch, step = Batch.of(MIXED), 1e-5
    model = model_of(kind, batch)
    trained = model.parameters.trained[name]
    gradients = pulled(model, batch, PULLS)
    gradient = spread_out(gradients, name, trained.shape[0])
    table = name.removesuffix(".lora_B")
    touched = np.unique(read_rows(batch)[table]) if table in TABLES else np.arange(trained.shape[0])
    random = np.random.default_rng(2)
    for _ in range(3):
        direction = np.zeros(trained.shape)
        direction[touched] = random.normal(0, 1, (touched.size, *trained.shape[1:]))
        ends = [
            sum(
                pull * oracle(model, one, {name: sign * step * direction})
                for pull, one in zip(PULLS, flat(MIXED), strict=True)
            )
            for sign in (1, -1)
        ]
        slope = (ends[0] - ends[1]) / (2 * step)
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_trained_array_has_a_gradient_and_no_other(kind):
    batch = Batch.of(MIXED)
    gradients = pulled(model_of(kind, batch), batch, PULLS)
    assert sorted([*gradients.dense, *gradients.rows]) == sorted(TRAINED[kind])


@pytest.mark.parametrize(("kind", "side"), [("full", ""), ("low rank", ".lora_B")])
def test_tables_have_a_gradient_at_the_rows_that_were_read_and_each_once(kind, side):
    batch = Batch.of(MIXED)
    gradients = pulled(model_of(kind, batch), batch, PULLS)
    assert {name: ids.tolist() for name, (ids, _) in gradients.rows.items()} == {
        name + side: sorted(set(ids.tolist())) for name, ids in read_rows(batch).items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_several_groups_is_the_sum_of_that_of_each_example(kind):
    examples = long_examples()
    batch, pulls = Batch.of(examples), np.linspace(-1, 1, 12) / 100
    model = model_of(kind, batch)
    together = pulled(model, batch, pulls)
    alone = [pulled(model, Batch.of([one]), pulls[2 * at : 2 * at + 2]) for at, one in enumerate(examples)]
    for name in TRAINED[kind]:
        rows = model.parameters.trained[name].shape[0]
        found, summed = spread_out(together, name, rows), sum(spread_out(one, name, rows) for one in alone)
        np.testing.assert_allclose(found, summed, rtol=1e-3, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_without_prompts_has_no_gradient_there(kind):
    batch = Batch.of([(answer(b"", b"hello"),)])
    gradients = pulled(model_of(kind, batch), batch, np.ones(1))
    name, width = ("prompt", WIDTH) if kind == "full" else ("prompt.lora_B", 3)
    ids, values = gradients.rows[name]
    assert (ids.size, values.shape) == (0, (0, width))
    assert not gradients.dense.get("prompt.lora_A", np.zeros(1)).any()


@pytest.mark.parametrize("kind", KINDS)
def test_no_pull_is_no_gradient(kind):
    batch = Batch.of(MIXED)
    assert pulled(model_of(kind, batch), batch, np.zeros(6)).norm() == 0.0
