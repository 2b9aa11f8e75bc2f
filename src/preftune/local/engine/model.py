"""The embedded language model: a page of NumPy that really learns.

For every answer token, the embeddings of the hashed preceding bytes (one table an order) and one vector for the whole
prompt are added, pass one hidden layer, and a softmax over bytes and the end mark:

    x = sum over orders of E_o[context_o] + mean over prompt words of P[word]        (N, WIDTH)
    h = tanh(x + b);  logits = h @ W + c                                              (N, VOCABULARY)

Which numbers these are, the model's own or an adapter beside them, is the parameters' affair (`parameters.py`).

Invariant: the buffer of a group's logits, (n, VOCABULARY), is made once and never scaled: factors are folded into the
(n, WIDTH) side. A group is whole examples, so a loss that looks at a pair knows its pull before the buffer is reused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from preftune.local.engine.encode import ORDERS, TABLE_BITS, VOCABULARY, Encoded
from preftune.local.engine.parameters import Floats, Gradients, Parameters, Weights

WIDTH = 32
GROUP = 1024  # tokens that are enough for one group: about 1 MiB of logits
_SEED = 20231203  # of the base model's output matrix; every model name starts from the same base
_SAFE = 60.0  # logits below it can be exponentiated as they stand: 257 * exp(60), times a weight of 60, is 2e30

# from the log-probabilities of a group's sequences, and which of the batch they are, to d loss / d log-probability
Pull: TypeAlias = Callable[[slice, NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Batch:
    """Sequences laid end to end, N tokens in all."""

    contexts: NDArray[np.uint16]  # (len(ORDERS), N)
    targets: NDArray[np.int32]  # (N,)
    lengths: NDArray[np.int64]  # (S,) tokens of each sequence
    prompt: NDArray[np.uint16]  # (W,) words of all prompts
    prompt_lengths: NDArray[np.int64]  # (S,)
    groups: list[tuple[slice, slice]]  # of each group: its sequences, and its tokens

    @property
    def words(self) -> Floats:
        """Return the number of words that a prompt's vector is the mean of, (S,); 1 where there is none."""
        return np.maximum(self.prompt_lengths, 1).astype(np.float32)

    @classmethod
    def of(cls, examples: Sequence[Sequence[Encoded]]) -> Batch:
        """Return the sequences of the examples as one batch; those of one example stay in one group."""
        sequences = [sequence for example in examples for sequence in example]
        return cls(
            np.concatenate([s.contexts for s in sequences], axis=1),
            np.concatenate([s.targets for s in sequences]),
            np.array([s.targets.size for s in sequences]),
            np.concatenate([s.prompt for s in sequences]),
            np.array([s.prompt.size for s in sequences]),
            _groups(examples),
        )


def _groups(examples: Sequence[Sequence[Encoded]]) -> list[tuple[slice, slice]]:
    groups, sequence, token, sequences, tokens = [], 0, 0, 0, 0
    for number, example in enumerate(examples, start=1):
        sequences += len(example)
        tokens += sum(each.targets.size for each in example)
        if tokens - token >= GROUP or number == len(examples):
            groups.append((slice(sequence, sequences), slice(token, tokens)))
            sequence, token = sequences, tokens
    return groups


def base_weights() -> Weights:
    """Return the untrained model: tables at zero, so that a context never seen in training contributes nothing."""
    random = np.random.default_rng(_SEED)
    tables = {f"context_{order}": np.zeros((1 << TABLE_BITS, WIDTH), np.float32) for order in ORDERS}
    return tables | {
        "prompt": np.zeros((1 << TABLE_BITS, WIDTH), np.float32),
        "hidden.bias": np.zeros(WIDTH, np.float32),
        "output.weight": random.normal(0, 0.3, (WIDTH, VOCABULARY)).astype(np.float32),
        "output.bias": np.zeros(VOCABULARY, np.float32),
    }


def sequence_logps(parameters: Parameters, batch: Batch) -> NDArray[np.float64]:
    """Return the summed log-probability of each sequence, (S,), in nats."""
    hidden, layer = _hidden(parameters, batch), _Output(parameters, batch)
    logps = np.zeros(batch.lengths.size)
    for sequences, tokens in batch.groups:
        per_token, _, _ = layer.softmax(hidden[tokens], batch.targets[tokens])
        logps[sequences] = _sums(per_token.astype(np.float64), batch.lengths[sequences])
    return logps


def learn(parameters: Parameters, batch: Batch, pull: Pull) -> tuple[NDArray[np.float64], Gradients]:
    """Return the log-probability of each sequence, (S,), and the gradient of the loss whose pull on them is given."""
    hidden, layer = _hidden(parameters, batch), _Output(parameters, batch)
    logps, d_hidden = np.zeros(batch.lengths.size), np.empty_like(hidden)
    d_weight, d_bias = np.zeros_like(layer.weight), np.zeros_like(layer.bias)
    for sequences, tokens in batch.groups:
        lengths, targets, h = batch.lengths[sequences], batch.targets[tokens], hidden[tokens]
        per_token, powers, totals = layer.softmax(h, targets)
        logps[sequences] = _sums(per_token.astype(np.float64), lengths)
        factor = np.repeat(pull(sequences, logps[sequences]), lengths).astype(np.float32) / totals  # (n,)
        powers[np.arange(targets.size), targets] -= totals  # now (softmax - one-hot) * totals
        np.matmul(powers, layer.weight.T, out=d_hidden[tokens])
        d_hidden[tokens] *= -factor[:, None]
        d_weight -= (h * factor[:, None]).T @ powers
        d_bias -= factor @ powers
    d_x = d_hidden * (1 - hidden * hidden)
    rows = {f"context_{order}": _by_row(ids, d_x) for order, ids in zip(ORDERS, batch.contexts, strict=True)}
    share = _sums(d_x, batch.lengths) / batch.words[:, None]  # (S, WIDTH)
    rows["prompt"] = _by_row(batch.prompt, np.repeat(share, batch.prompt_lengths, axis=0))
    dense = {"hidden.bias": d_x.sum(axis=0), "output.weight": d_weight, "output.bias": d_bias}
    return logps, parameters.pull_back(Gradients(dense, rows))


def _hidden(parameters: Parameters, batch: Batch) -> Floats:
    words = parameters.rows("prompt", batch.prompt)  # (W, WIDTH)
    x = np.repeat(_sums(words, batch.prompt_lengths) / batch.words[:, None], batch.lengths, axis=0)  # (N, WIDTH)
    for order, ids in zip(ORDERS, batch.contexts, strict=True):
        x += parameters.rows(f"context_{order}", ids)
    x += parameters.whole("hidden.bias")
    return np.tanh(x, out=x)


class _Output:
    """The output layer over one batch, with the buffer that its groups take turns in."""

    def __init__(self, parameters: Parameters, batch: Batch) -> None:
        self.weight, self.bias = parameters.whole("output.weight"), parameters.whole("output.bias")
        largest = max((tokens.stop - tokens.start for _, tokens in batch.groups), default=0)
        self._buffer = np.empty((largest, VOCABULARY), np.float32)
        # hidden values are within -1..1, which bounds the logits: where they cannot overflow, no maximum is looked for
        self._safe = bool((np.abs(self.weight).sum(axis=0) + np.abs(self.bias)).max() < _SAFE)

    def softmax(self, hidden: Floats, targets: NDArray[np.int32]) -> tuple[Floats, Floats, Floats]:
        """Return log-probabilities of the targets (n,), exponents (n, VOCABULARY) in the buffer, their sums (n,)."""
        logits = np.matmul(hidden, self.weight, out=self._buffer[: targets.size])
        logits += self.bias
        if not self._safe:
            logits -= logits.max(axis=1, keepdims=True)
        picked = logits[np.arange(targets.size), targets]
        powers = np.exp(logits, out=logits)
        totals = powers @ np.ones(VOCABULARY, np.float32)
        return picked - np.log(totals), powers, totals


def _sums(values: NDArray[np.floating], lengths: NDArray[np.int64]) -> NDArray[np.floating]:
    """Return sums over consecutive runs of the given lengths, (S, ...); an empty run sums to zero."""
    return np.stack([run.sum(axis=0) for run in np.split(values, np.cumsum(lengths)[:-1])])


def _by_row(ids: NDArray[np.uint16], values: Floats) -> tuple[NDArray[np.uint16], Floats]:
    """Return each row number once, with the sum of its values: sorting and adding runs beats scattering."""
    if not ids.size:
        return ids, np.zeros((0, WIDTH), np.float32)
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    runs = np.diff(starts, append=ids.size)
    sums = np.take(values, order[starts], axis=0)
    several = runs > 1  # most rows of the long orders come once, and adding runs costs by the run
    if several.any():
        lengths = runs[several]
        ends = np.cumsum(lengths)
        repeated = np.take(values, order[np.repeat(several, runs)], axis=0)
        # two floats at a time: a run is added column by column
        sums[several] = np.add.reduceat(repeated.view(np.complex64), ends - lengths, axis=0).view(np.float32)
    return ordered[starts], sums
