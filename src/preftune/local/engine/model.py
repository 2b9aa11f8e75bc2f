"""The embedded language model: a page of NumPy that really learns.

For every answer token, the embeddings of the hashed preceding bytes (one table an order) and one vector for the whole
prompt are added, pass one hidden layer, and a softmax over bytes and the end mark:

    x = sum over orders of E_o[context_o] + mean over prompt words of P[word]        (N, WIDTH)
    h = tanh(x + b);  logits = h @ W + c                                              (N, VOCABULARY)

Invariant: the (N, VOCABULARY) buffer is made once a block and never scaled: factors are folded into the (N, WIDTH)
side. Tables begin at zero, so a context never seen in training contributes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preftune.local.engine.encode import ORDERS, TABLE_BITS, VOCABULARY, Encoded

WIDTH = 32
BLOCK = 2048  # rows of one softmax: 2 MiB of float32, which stays in cache
_SEED = 20231203  # of the base model's two dense matrices; every model name starts from the same base

Floats = NDArray[np.float32]
Weights = dict[str, Floats]


@dataclass(frozen=True, eq=False)
class Batch:
    """Sequences laid end to end, N tokens in all."""

    contexts: NDArray[np.uint16]  # (len(ORDERS), N)
    targets: NDArray[np.int32]  # (N,)
    lengths: NDArray[np.int64]  # (S,) tokens of each sequence
    prompt: NDArray[np.uint16]  # (W,) words of all prompts
    prompt_lengths: NDArray[np.int64]  # (S,)

    @classmethod
    def of(cls, sequences: Sequence[Encoded]) -> Batch:
        """Return the sequences as one batch."""
        return cls(
            np.concatenate([s.contexts for s in sequences], axis=1),
            np.concatenate([s.targets for s in sequences]),
            np.array([s.targets.size for s in sequences]),
            np.concatenate([s.prompt for s in sequences]),
            np.array([s.prompt.size for s in sequences]),
        )


@dataclass(frozen=True, eq=False)
class Gradients:
    """The gradient of a batch: whole for the small arrays, touched rows alone for the tables."""

    dense: Weights
    rows: dict[str, tuple[NDArray[np.uint16], Floats]]  # table: (row numbers, each once; their gradients)

    def norm(self) -> float:
        """Return the Euclidean norm over everything."""
        parts = [*self.dense.values(), *(values for _, values in self.rows.values())]
        return float(np.sqrt(sum(float(np.vdot(part, part)) for part in parts)))


def base_weights() -> Weights:
    """Return the untrained model."""
    random = np.random.default_rng(_SEED)
    tables = {f"context_{order}": np.zeros((1 << TABLE_BITS, WIDTH), np.float32) for order in ORDERS}
    return tables | {
        "prompt": np.zeros((1 << TABLE_BITS, WIDTH), np.float32),
        "hidden.bias": np.zeros(WIDTH, np.float32),
        "output.weight": random.normal(0, 0.3, (WIDTH, VOCABULARY)).astype(np.float32),
        "output.bias": np.zeros(VOCABULARY, np.float32),
    }


def sequence_logps(weights: Weights, batch: Batch) -> NDArray[np.float64]:
    """Return the summed log-probability of each sequence, (S,), in nats."""
    hidden = _hidden(weights, batch)
    per_token = np.empty(batch.targets.size, np.float64)
    for block in _blocks(batch.targets.size):
        per_token[block] = _softmax(weights, hidden[block], batch.targets[block])[0]
    return _per_sequence(per_token, batch.lengths)


@dataclass(frozen=True, eq=False)
class Forward:
    """A forward pass that can be followed by a backward pass."""

    logps: NDArray[np.float64]  # (S,)
    hidden: Floats  # (N, WIDTH)
    exponents: list[Floats]  # per block (n, VOCABULARY): exp(logits - top), not normalised
    totals: list[Floats]  # per block (n,): their sums


def forward(weights: Weights, batch: Batch) -> Forward:
    """Return the log-probabilities of a batch and what its gradient needs."""
    hidden = _hidden(weights, batch)
    per_token, exponents, totals = np.empty(batch.targets.size, np.float64), [], []
    for block in _blocks(batch.targets.size):
        per_token[block], powers, total = _softmax(weights, hidden[block], batch.targets[block])
        exponents.append(powers)
        totals.append(total)
    return Forward(_per_sequence(per_token, batch.lengths), hidden, exponents, totals)


def backward(weights: Weights, batch: Batch, done: Forward, pull: NDArray[np.float64]) -> Gradients:
    """Return the gradient of sum(pull * logps) over the sequences; `pull` is (S,). Uses up `done`."""
    output = weights["output.weight"]
    factor = np.repeat(pull, batch.lengths).astype(np.float32)  # (N,)
    d_hidden = np.empty_like(done.hidden)
    d_output, d_bias = np.zeros_like(output), np.zeros_like(weights["output.bias"])
    for block, powers, total in zip(_blocks(batch.targets.size), done.exponents, done.totals, strict=True):
        powers[np.arange(total.size), batch.targets[block]] -= total  # -(one-hot - softmax) * total
        scale = -factor[block] / total  # (n,)
        d_hidden[block] = (powers @ output.T) * scale[:, None]
        d_output += (done.hidden[block] * scale[:, None]).T @ powers
        d_bias += scale @ powers
    d_x = d_hidden * (1 - done.hidden * done.hidden)
    rows = {f"context_{order}": _by_row(ids, d_x) for order, ids in zip(ORDERS, batch.contexts, strict=True)}
    share = _per_sequence(d_x, batch.lengths) / np.maximum(batch.prompt_lengths, 1)[:, None]  # (S, WIDTH)
    rows["prompt"] = _by_row(batch.prompt, np.repeat(share, batch.prompt_lengths, axis=0).astype(np.float32))
    dense = {"hidden.bias": d_x.sum(axis=0), "output.weight": d_output, "output.bias": d_bias}
    return Gradients(dense, rows)


def _hidden(weights: Weights, batch: Batch) -> Floats:
    words = weights["prompt"][batch.prompt]  # (W, WIDTH)
    per_prompt = _per_sequence(words, batch.prompt_lengths) / np.maximum(batch.prompt_lengths, 1)[:, None]  # (S, WIDTH)
    x = np.repeat(per_prompt.astype(np.float32), batch.lengths, axis=0)  # (N, WIDTH)
    for order, ids in zip(ORDERS, batch.contexts, strict=True):
        x += weights[f"context_{order}"][ids]
    x += weights["hidden.bias"]
    return np.tanh(x, out=x)


def _softmax(weights: Weights, hidden: Floats, targets: NDArray[np.int32]) -> tuple[Floats, Floats, Floats]:
    """Return log-probabilities of the targets (n,), exponents (n, VOCABULARY) and their sums (n,)."""
    logits = hidden @ weights["output.weight"]
    logits += weights["output.bias"]
    logits -= logits.max(axis=1, keepdims=True)
    picked = logits[np.arange(targets.size), targets]
    powers = np.exp(logits, out=logits)
    total = powers.sum(axis=1)
    return picked - np.log(total), powers, total


def _blocks(tokens: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, tokens)) for start in range(0, tokens, BLOCK)]


def _per_sequence(values: NDArray[np.floating], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return sums over consecutive runs of the given lengths, (S, ...); an empty run sums to zero."""
    starts = np.concatenate([[0], np.cumsum(lengths)])
    sums = np.zeros((lengths.size, *values.shape[1:]), np.float64)
    filled = lengths > 0
    if filled.any():
        sums[filled] = np.add.reduceat(values.astype(np.float64), starts[:-1][filled], axis=0)
    return sums


def _by_row(ids: NDArray[np.uint16], values: Floats) -> tuple[NDArray[np.uint16], Floats]:
    """Return each row number once, with the sum of its values: sorting and adding runs beats scattering."""
    if not ids.size:
        return ids, np.zeros((0, WIDTH), np.float32)
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return ordered[starts], np.add.reduceat(values[order], starts, axis=0)
