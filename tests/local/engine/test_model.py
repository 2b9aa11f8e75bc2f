import math

import numpy as np
import pytest

from preftune.local.engine.encode import ORDERS, VOCABULARY, Cut, Encoded, encode
from preftune.local.engine.model import BLOCK, WIDTH, Batch, Gradients, Weights, backward, base_weights, forward
from preftune.local.engine.model import sequence_logps as score

ARRAYS = (*(f"context_{order}" for order in ORDERS), "prompt", "hidden.bias", "output.weight", "output.bias")


def sequences() -> list[Encoded]:
    """Answers of mixed lengths: one token, none at all, no prompt, two under one prompt."""
    pieces = [
        (b"why is it", b"because it is", True),
        (b"why is it", b"no", False),
        (b"", b"hello", True),
        (b"so what", b"", True),
        (b"cut away", b"", False),
    ]
    return [encode(Cut(context, answer, whole=whole)) for context, answer, whole in pieces]


def weights_of(batch: Batch, *, seed: int = 1) -> Weights:
    """A model whose every touched weight is random."""
    random, weights = np.random.default_rng(seed), base_weights()
    for row, order in enumerate(ORDERS):
        weights[f"context_{order}"][batch.contexts[row]] = random.normal(0, 0.3, (batch.targets.size, WIDTH))
    weights["prompt"][batch.prompt] = random.normal(0, 0.3, (batch.prompt.size, WIDTH))
    weights["hidden.bias"][:] = random.normal(0, 0.3, WIDTH)
    weights["output.bias"][:] = random.normal(0, 0.3, VOCABULARY)
    return weights


def oracle(weights: Weights, sequence: Encoded) -> float:
    """Return the summed log-probability as the module's formulas say, token by token in float64."""
    wide = {name: weights[name].astype(np.float64) for name in ("hidden.bias", "output.weight", "output.bias")}
    words = weights["prompt"][sequence.prompt].astype(np.float64)
    prompt = words.mean(axis=0) if len(words) else np.zeros(WIDTH)
    total = 0.0
    for at, target in enumerate(sequence.targets):
        tables = (weights[f"context_{order}"][sequence.contexts[row, at]] for row, order in enumerate(ORDERS))
        hidden = np.tanh(sum(tables, prompt) + wide["hidden.bias"])
        logits = hidden @ wide["output.weight"] + wide["output.bias"]
        total += logits[target] - math.log(np.exp(logits).sum())
    return total


def test_a_batch_lays_sequences_end_to_end():
    batch = Batch.of(sequences())
    assert batch.lengths.tolist() == [14, 2, 6, 1, 0]
    assert batch.prompt_lengths.tolist() == [3, 3, 0, 2, 2]
    assert (batch.contexts.shape, batch.targets.shape, batch.prompt.shape) == ((len(ORDERS), 23), (23,), (10,))


def test_the_base_model_is_the_same_each_time_and_knows_no_context():
    first, second = base_weights(), base_weights()
    assert set(first) == set(ARRAYS)
    for name in ARRAYS:
        np.testing.assert_array_equal(first[name], second[name])
        assert first[name].any() == (name == "output.weight")


def test_the_base_model_finds_every_token_equally_likely():
    found = score(base_weights(), Batch.of(sequences()))
    np.testing.assert_allclose(found, np.array([14, 2, 6, 1, 0]) * -math.log(VOCABULARY), rtol=1e-6)


def test_log_probabilities_agree_with_the_formulas_in_float64():
    batch = Batch.of(sequences())
    weights = weights_of(batch)
    found = score(weights, batch)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [oracle(weights, one) for one in sequences()], rtol=1e-5, atol=1e-12)


def test_a_sequence_without_tokens_scores_zero():
    nothing = Batch.of([encode(Cut(b"x", b"", whole=False))])
    assert score(base_weights(), nothing).tolist() == [0.0]
    gradients = backward(base_weights(), nothing, forward(base_weights(), nothing), np.ones(1))
    assert gradients.norm() == 0.0


def test_answers_longer_than_a_block_are_scored_whole():
    long = encode(Cut(b"go", b"abcdefgh" * (BLOCK // 8) + b"tail", whole=True))
    batch = Batch.of([long, encode(Cut(b"go", b"short", whole=True))])
    weights = weights_of(batch)
    found = score(weights, batch)
    np.testing.assert_allclose(found[0], oracle(weights, long), rtol=1e-5)
    np.testing.assert_array_equal(forward(weights, batch).logps, found)
    pull = np.array([0.01, -1.0])
    together = backward(weights, batch, forward(weights, batch), pull)
    alone = [
        backward(weights, one, forward(weights, one), pull[at : at + 1])
        for at, one in enumerate((Batch.of([long]), Batch.of([encode(Cut(b"go", b"short", whole=True))])))
    ]
    for name, value in together.dense.items():
        np.testing.assert_allclose(value, alone[0].dense[name] + alone[1].dense[name], rtol=1e-3, atol=1e-4)


def test_forward_scores_what_sequence_logps_scores_bit_for_bit():
    batch = Batch.of(sequences())
    weights = weights_of(batch)
    np.testing.assert_array_equal(forward(weights, batch).logps, score(weights, batch))


def gradient_at(gradients: Gradients, name: str, index: tuple[int, ...]) -> float:
    if name in gradients.dense:
        return float(gradients.dense[name][index])
    ids, values = gradients.rows[name]
    return float(values[np.flatnonzero(ids == index[0])[0], index[1]])


@pytest.mark.parametrize("name", ARRAYS)
def test_the_gradient_agrees_with_central_differences(name):
    batch, step = Batch.of(sequences()), np.float32(1e-2)
    weights, pull = weights_of(batch), np.array([1.0, -0.5, 2.0, 1.5, 3.0])
    gradients = backward(weights, batch, forward(weights, batch), pull)
    random = np.random.default_rng(2)
    rows = gradients.rows[name][0] if name in gradients.rows else np.arange(weights[name].shape[0])
    for _ in range(6):
        index = (int(random.choice(rows)), *(int(random.integers(size)) for size in weights[name].shape[1:]))
        middle, ends = weights[name][index].copy(), []
        for sign in (1, -1):
            weights[name][index] = middle + sign * step
            ends.append(float(pull @ score(weights, batch)))
        weights[name][index] = middle
        slope = (ends[0] - ends[1]) / (2 * float(step))
        assert gradient_at(gradients, name, index) == pytest.approx(slope, rel=1e-2, abs=2e-3)


def test_tables_have_a_gradient_at_the_rows_that_were_read_and_each_once():
    batch = Batch.of(sequences())
    weights = weights_of(batch)
    gradients = backward(weights, batch, forward(weights, batch), np.ones(5))
    read = dict(zip(ARRAYS, (*batch.contexts, batch.prompt), strict=False))
    assert {name: ids.tolist() for name, (ids, _) in gradients.rows.items()} == {
        name: sorted(set(ids.tolist())) for name, ids in read.items()
    }


def test_a_batch_without_prompts_has_no_gradient_there():
    batch = Batch.of([encode(Cut(b"", b"hello", whole=True))])
    ids, values = backward(base_weights(), batch, forward(base_weights(), batch), np.ones(1)).rows["prompt"]
    assert (ids.size, values.shape) == (0, (0, WIDTH))


def test_no_pull_is_no_gradient():
    batch = Batch.of(sequences())
    weights = weights_of(batch)
    assert backward(weights, batch, forward(weights, batch), np.zeros(5)).norm() == 0.0


def test_the_norm_is_euclidean_over_everything():
    rows = {"prompt": (np.array([7], np.uint16), np.array([[4.0, 0.0]], np.float32))}
    gradients = Gradients({"output.bias": np.array([3.0], np.float32), "b": np.full(4, 6.0, np.float32)}, rows)
    assert gradients.norm() == 13.0  # 9 + 144 + 16 = 169
